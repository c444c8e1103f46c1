# The first serial port (COM1, 115200 8N1) for the boot sectors of this folder: macros, so that each has them where it wants.

        .set    COM1, 0x3f8

# Sets the port up; %ds is 0. Changes %ax, %dx, %si.
        .macro  serial_begin
        movw    $setup, %si             # pairs of port offset and value
1:      lodsw
        testb   $0x80, %al
        jnz     2f
        movw    $COM1, %dx
        addb    %al, %dl
        movb    %ah, %al
        outb    %al, %dx
        jmp     1b
2:
        .endm

# print: the string at %si, which a zero byte ends, through the sector's own put. send: %al, and waits only so long: a machine may
# have no port. Changes %cx, %dx.
        .macro  serial_routines
print:  lodsb
        testb   %al, %al
        jz      3f
        call    put
        jmp     print
3:      ret

send:   movb    %al, %ah
        movw    $COM1 + 5, %dx
        movw    $0xffff, %cx
4:      inb     %dx, %al
        testb   $0x20, %al
        loopz   4b
        movw    $COM1, %dx
        movb    %ah, %al
        outb    %al, %dx
        ret
        .endm

        .macro  serial_data
setup:  .byte   1, 0x00                 # no interrupts
        .byte   3, 0x80, 0, 0x01, 1, 0x00 # divisor 1
        .byte   3, 0x03                 # 8 bits, no parity, 1 stop bit
        .byte   2, 0xc7                 # FIFO on, emptied
        .byte   4, 0x0b                 # DTR, RTS, OUT2
        .byte   0x80
newline: .asciz "\r\n"
        .endm
