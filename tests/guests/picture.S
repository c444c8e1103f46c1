# A guest of 512 bytes with a picture that is known: 320 x 200 pixels (VGA mode 13h) in four quarters of the standard
# palette: red (170,0,0) and green (0,170,0) above, blue (0,0,170) and white (255,255,255) below. On the first serial port it says
# "picture: drawn", and then "scan XX" for every byte that the keyboard sends (scan code set 1: XX when a key goes
# down, XX + 80 when it comes up). The key 1 makes the whole screen blue, 2 green, 3 cyan, ... as the palette has them.
#
#   as --32, ld --oformat binary -Ttext 0x7c00: see make-counter

        .code16
        .include "serial.S"
        .globl  _start
_start:
        ljmp    $0, $start              # some firmware jumps to 07c0:0000
start:
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %ss
        movw    $0x7c00, %sp
        cld

        serial_begin
        movw    $0x0013, %ax
        int     $0x10
        movb    $0xfe, %al              # only the clock interrupts: the keyboard's bytes are read here, not by the BIOS
        outb    %al, $0x21
        sti
        movw    $0xa000, %ax
        movw    %ax, %es

        xorw    %di, %di
        movw    $100, %dx
3:      movb    $4, %al
        movb    $2, %ah
        call    row
        decw    %dx
        jnz     3b
        movw    $100, %dx
4:      movb    $1, %al
        movb    $15, %ah
        call    row
        decw    %dx
        jnz     4b
        movw    $drawn, %si
        call    print

idle:   hlt
key:    inb     $0x64, %al
        testb   $1, %al
        jz      idle
        testb   $0x20, %al              # the mouse's
        inb     $0x60, %al
        jnz     key
        movb    %al, %bl
        movw    $scan, %si
        call    print
        movb    %bl, %al
        shrb    $4, %al
        call    digit
        movb    %bl, %al
        andb    $15, %al
        call    digit
        movw    $newline, %si
        call    print
        movb    %bl, %al                # 02 to 0a are the keys 1 to 9
        decb    %al
        jz      key
        cmpb    $9, %al
        ja      key
        xorw    %di, %di
        movw    $64000, %cx
        rep     stosb
        jmp     key

# Half a row of the colour %al, half of %ah.
row:    movw    $160, %cx
        rep     stosb
        xchgb   %al, %ah
        movw    $160, %cx
        rep     stosb
        xchgb   %al, %ah
        ret

        serial_routines

digit:  addb    $'0', %al
        cmpb    $'9', %al
        jbe     put
        addb    $'a' - '0' - 10, %al
        .set    put, send
        jmp     put

        serial_data
drawn:  .asciz  "picture: drawn\r\n"
scan:   .asciz  "scan "

        .org    510
        .word   0xaa55
