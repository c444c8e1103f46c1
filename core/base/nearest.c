/* The nearest of several words, for "did you mean": edit distance with transpositions (Damerau-Levenshtein, optimal
 * string alignment), case ignored. */
#include "base/str.h"
#include <ctype.h>
#include <string.h>

enum { LONGEST = 64 }; /* longer words are no typing errors of a key or name */

static unsigned min3(unsigned a, unsigned b, unsigned c) {
    unsigned least = a < b ? a : b;
    return least < c ? least : c;
}

static unsigned distance(const char *a, size_t a_length, const char *b, size_t b_length) {
    unsigned rows[3][LONGEST + 1];
    for (size_t j = 0; j <= b_length; j++)
        rows[0][j] = (unsigned)j;
    for (size_t i = 1; i <= a_length; i++) {
        unsigned *row = rows[i % 3];
        const unsigned *above = rows[(i + 2) % 3];
        const unsigned *two_above = rows[(i + 1) % 3];
        int x = tolower((unsigned char)a[i - 1]);
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_length; j++) {
            int y = tolower((unsigned char)b[j - 1]);
            row[j] = min3(above[j] + 1, row[j - 1] + 1, above[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) && y == tolower((unsigned char)a[i - 2])) {
                unsigned swapped = two_above[j - 2] + 1;
                if (swapped < row[j])
                    row[j] = swapped;
            }
        }
    }
    return rows[a_length % 3][b_length];
}

const char *vmc_nearest(const char *word, const char *const *candidates) {
    if (!word || !candidates)
        return NULL;
    size_t length = strlen(word);
    if (length == 0 || length > LONGEST)
        return NULL;
    const char *best = NULL;
    unsigned best_distance = 0;
    for (size_t i = 0; candidates[i]; i++) {
        size_t other = strlen(candidates[i]);
        if (other == 0 || other > LONGEST)
            continue;
        size_t longer = length > other ? length : other;
        unsigned d = distance(word, length, candidates[i], other);
        bool nearer = !best || d < best_distance || (d == best_distance && strcmp(candidates[i], best) < 0);
        if (d <= (longer + 1) / 3 && d < longer && nearer) {
            best = candidates[i];
            best_distance = d;
        }
    }
    return best;
}
