# A guest of 512 bytes: a boot sector that prints a banner and then a counting line for ever, on the first serial port
# (COM1, 115200 8N1) and on the screen, about nine lines a second. It listens to nothing: no ACPI, no agent, no input
# but the serial port's, whose bytes it prints back in angle brackets. The count restarts at 1 with every boot, so a
# reader can tell a pause (the count stops), a resume (it goes on) and a reset (it begins again) apart.
#
#   as --32 -o counter.o counter.S
#   ld -m elf_i386 -Ttext 0x7c00 --oformat binary -o counter.img counter.o && truncate -s 1M counter.img

        .code16
        .set    COM1, 0x3f8
        .globl  _start
_start:
        ljmp    $0, $start              # some firmware jumps to 07c0:0000
start:
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $0x7c00, %sp
        cld
        sti

        movw    $setup, %si             # pairs of port offset and value
1:      lodsw
        testb   $0x80, %al
        jnz     2f
        movw    $COM1, %dx
        addb    %al, %dl
        movb    %ah, %al
        outb    %al, %dx
        jmp     1b

2:      movw    $banner, %si
        call    print
        xorl    %ebx, %ebx

line:   incl    %ebx
        movw    $text, %si
        call    print
        call    number
        movw    $newline, %si
        call    print

        movw    0x46c, %bp              # the BIOS's clock: 18.2 ticks a second
        addw    $2, %bp
wait:   hlt
        movw    $COM1 + 5, %dx
        inb     %dx, %al
        testb   $1, %al                 # a byte came in
        jz      3f
        movw    $COM1, %dx
        inb     %dx, %al
        movb    %al, typed + 1
        movw    $typed, %si
        call    print
3:      movw    0x46c, %ax
        subw    %bp, %ax
        js      wait
        jmp     line

# Prints the string at %si, which a zero byte ends.
print:  lodsb
        testb   %al, %al
        jz      4f
        call    put
        jmp     print
4:      ret

# Prints %ebx in decimal.
number: movl    %ebx, %eax
        xorw    %cx, %cx
        movl    $10, %edi
5:      xorl    %edx, %edx
        divl    %edi
        pushw   %dx
        incw    %cx
        testl   %eax, %eax
        jnz     5b
6:      popw    %ax
        addb    $'0', %al
        call    put
        loop    6b
        ret

# Prints %al: waits for the serial port only so long, a machine may have none.
put:    pushal
        movb    %al, %ah
        movw    $COM1 + 5, %dx
        movw    $0xffff, %cx
7:      inb     %dx, %al
        testb   $0x20, %al
        loopz   7b
        movw    $COM1, %dx
        movb    %ah, %al
        outb    %al, %dx
        movb    $0x0e, %ah
        xorw    %bx, %bx
        int     $0x10
        popal
        ret

setup:  .byte   1, 0x00                 # no interrupts
        .byte   3, 0x80, 0, 0x01, 1, 0x00 # divisor 1
        .byte   3, 0x03                 # 8 bits, no parity, 1 stop bit
        .byte   2, 0xc7                 # FIFO on, emptied
        .byte   4, 0x0b                 # DTR, RTS, OUT2
        .byte   0x80
banner: .asciz  "vmctl guest: it boots\r\n"
text:   .asciz  "vmctl guest: line "
newline: .asciz "\r\n"
typed:  .asciz  "< >\r\n"

        .org    510
        .word   0xaa55
