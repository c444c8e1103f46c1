/* A tree as YAML 1.2: block style, texts plain where no reader can take them for something else, else quoted as in JSON. */
#include "output.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Words that some YAML reader takes for a boolean, null or a number (YAML 1.1 and 1.2). */
static bool is_reserved(const char *text) {
    static const char *const words[] = {"null", "true", "false", "yes", "no", "on", "off", "y", "n", NULL};
    for (const char *const *w = words; *w; w++)
        if (!strcasecmp(text, *w))
            return true;
    return false;
}

static bool is_plain(const char *text) {
    size_t length = strlen(text);

    if (!length || length > 200 || !(isalpha((unsigned char)text[0]) || text[0] == '/' || text[0] == '_') ||
        text[length - 1] == ' ' || text[length - 1] == ':' || is_reserved(text))
        return false;
    for (const char *c = text; *c; c++) {
        if (!isalnum((unsigned char)*c) && !strchr(" _./@%+=-()~:,", *c))
            return false;
        if (c[0] == ':' && c[1] == ' ')
            return false;
    }
    return true;
}

static void write_scalar(FILE *to, const cJSON *item) {
    if (cJSON_IsString(item) && is_plain(item->valuestring)) {
        fputs(item->valuestring, to);
        return;
    }
    CLI_AUTO_FREE char *text = cJSON_PrintUnformatted(item);
    fputs(text ? text : "null", to);
}

static void write_key(FILE *to, const char *key) {
    if (is_plain(key) && !strchr(key, ':')) {
        fputs(key, to);
        return;
    }
    cJSON *item = cJSON_CreateString(key);
    CLI_AUTO_FREE char *text = cJSON_PrintUnformatted(item);
    cJSON_Delete(item);
    fputs(text ? text : "\"\"", to);
}

static bool is_block(const cJSON *item) {
    return (cJSON_IsObject(item) || cJSON_IsArray(item)) && item->child;
}

/* Writes a map or list whose first line is already indented. */
static void write_block(FILE *to, const cJSON *tree, int indent) {
    for (const cJSON *item = tree->child; item; item = item->next) {
        if (item != tree->child)
            fprintf(to, "%*s", indent, "");
        if (cJSON_IsObject(tree)) {
            write_key(to, item->string);
            fputc(':', to);
            if (is_block(item)) {
                fprintf(to, "\n%*s", indent + 2, "");
                write_block(to, item, indent + 2);
                continue;
            }
            fputc(' ', to);
        } else {
            fputs("- ", to);
            if (is_block(item)) {
                write_block(to, item, indent + 2);
                continue;
            }
        }
        write_scalar(to, item);
        fputc('\n', to);
    }
}

void cli_yaml_write(FILE *to, const cJSON *tree, int indent) {
    if (is_block(tree)) {
        write_block(to, tree, indent);
        return;
    }
    write_scalar(to, tree);
    fputc('\n', to);
}
