# A guest of 512 bytes: a boot sector that prints a banner and then a counting line for ever, on the first serial port
# (COM1, 115200 8N1) and on the screen, about nine lines a second. It listens to nothing: no ACPI, no agent, no input
# but the serial port's, whose bytes it prints back in angle brackets. The count restarts at 1 with every boot, so a
# reader can tell a pause (the count stops), a resume (it goes on) and a reset (it begins again) apart.
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
        movw    %ax, %es
        movw    %ax, %ss
        movw    $0x7c00, %sp
        cld
        sti

        serial_begin
        movw    $banner, %si
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
wait:
        .ifdef DIRTIES
        call    dirty
        .else
        hlt
        .endif
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

        serial_routines

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

# Prints %al, on both.
put:    pushal
        call    send
        movb    $0x0e, %ah
        xorw    %bx, %bx
        int     $0x10
        popal
        ret

        .ifdef DIRTIES
# Writes to every page from 1 to 24 MiB. %fs gets a limit of 4 GiB in protected mode and keeps it; the BIOS may take it away again.
dirty:  cli
        lgdt    table
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        movw    $8, %dx
        movw    %dx, %fs
        andb    $0xfe, %al
        movl    %eax, %cr0
        sti
        movl    $0x100000, %edi
7:      incb    %fs:(%edi)
        addl    $0x1000, %edi
        cmpl    $0x1800000, %edi
        jb      7b
        ret
table:  .word   15
        .long   entries
entries: .quad  0, 0x00cf92000000ffff
        .endif

        serial_data
banner: .asciz  "vmctl guest: it boots\r\n"
text:   .asciz  "vmctl guest: line "
typed:  .asciz  "< >\r\n"

        .org    510
        .word   0xaa55
