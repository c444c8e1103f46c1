#include "base/base64.h"
#include <string.h>

void vmc_base64_add(vmc_str *to, const void *bytes, size_t length, size_t line) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *in = bytes;
    size_t written = 0;
    for (size_t i = 0; i < length; i += 3) {
        size_t left = length - i;
        unsigned long bits = (unsigned long)in[i] << 16 | (left > 1 ? (unsigned long)in[i + 1] << 8 : 0) |
                             (left > 2 ? (unsigned long)in[i + 2] : 0);
        const char four[4] = {digits[bits >> 18 & 63], digits[bits >> 12 & 63],
                              (char)(left > 1 ? digits[bits >> 6 & 63] : '='),
                              (char)(left > 2 ? digits[bits & 63] : '=')};
        vmc_str_add_n(to, four, sizeof four);
        written += sizeof four;
        if (line && written % line == 0)
            vmc_str_add_char(to, '\n');
    }
}

/* -1: no digit. */
static int value_of(unsigned char c) {
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool vmc_base64_decode(vmc_str *to, const char *text) {
    size_t before = to->length;
    unsigned long bits = 0;
    int digits = 0, padding = 0;
    bool good = true;
    for (const char *c = text; *c && good; c++) {
        if (strchr(" \t\r\n", *c))
            continue;
        int value = value_of((unsigned char)*c);
        padding += *c == '=';
        good = padding ? *c == '=' && digits + padding <= 4 : value >= 0;
        if (!good || padding)
            continue;
        bits = bits << 6 | (unsigned long)value;
        if (++digits < 4)
            continue;
        const char three[3] = {(char)(bits >> 16), (char)(bits >> 8), (char)bits};
        vmc_str_add_n(to, three, sizeof three);
        bits = 0;
        digits = 0;
    }
    good = good && digits != 1 && (digits == 0 ? padding == 0 : digits + padding == 4);
    if (good && digits == 2)
        vmc_str_add_char(to, (char)(bits >> 4));
    if (good && digits == 3) {
        vmc_str_add_char(to, (char)(bits >> 10));
        vmc_str_add_char(to, (char)(bits >> 2));
    }
    if (!good) {
        to->length = before;
        if (to->text)
            to->text[before] = '\0';
    }
    return good;
}
