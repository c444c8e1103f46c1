/* The texts of VirtualBox's settings files, which VBoxSVC may be replacing this moment. */
#include "base/error.h"
#include "base/random.h"
#include "files.h"
#include "settings.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SETTINGS_LIMIT = 64 << 20, REPLACED_MS = 5000, REPLACED_SLICE_US = 5000 };

int vboxmanage_settings_text(const vboxmanage *manage, const char *path, const vmc_deadline *deadline, char **out,
                             size_t *length, vmctl_error **err) {
    int64_t until = vmc_now_ms() + REPLACED_MS;
    VMC_AUTO_FREE char *next = vmc_printf("%s-tmp", path);
    for (bool written = true;;) {
        vmctl_error *why = NULL;
        int code = vboxmanage_file_read(manage, path, SETTINGS_LIMIT, deadline, out, length, &why);
        if (code != VMCTL_E_NOT_FOUND || !written || vmc_now_ms() > until) {
            vmc_error_move(code < 0 ? err : NULL, &why);
            return code;
        }
        vmctl_error_free(why);
        /* Gone, too: it has been renamed this moment, or there never was one. The next look tells. */
        written = vboxmanage_file_exists(manage, next, deadline);
        if (written)
            usleep(REPLACED_SLICE_US);
    }
}

/* Each file is followed by a line of the mark, with "+" before it, or "-" when it could not be read. */
static int split_texts(const char *text, size_t count, const char *mark, char **outs, size_t *lengths,
                       vmctl_error **err) {
    for (size_t i = 0; i < count; i++) {
        const char *end = strstr(text, mark);
        if (!end || end == text)
            return vmc_error(err, VMCTL_E_UNAVAILABLE, "the host's answer was cut off");
        if (end[-1] == '+') {
            lengths[i] = (size_t)(end - 1 - text);
            outs[i] = vmc_strndup(text, lengths[i]);
        }
        text = end + strlen(mark);
    }
    return 0;
}

/* One process for all. A file that is being replaced is waited for, as above. */
static const char texts_script[] = "exec awk -v m=\"$1\" '{ f = $0\n"
                                   " for (n = 0; n < 100; n++) {\n"
                                   "  while ((r = (getline l < f)) > 0) print l\n"
                                   "  close(f); if (r >= 0) break\n"
                                   "  g = f \"-tmp\"; w = (getline l < g); close(g)\n"
                                   "  if (w < 0 && n) break\n"
                                   "  if (n) system(\"sleep 0.05\") }\n"
                                   " print (r < 0 ? \"-\" : \"+\") m }'";

int vboxmanage_settings_texts(const vboxmanage *manage, const char *const *paths, size_t count,
                              const vmc_deadline *deadline, char **outs, size_t *lengths, vmctl_error **err) {
    if (!manage || !manage->host) {
        for (size_t i = 0; i < count; i++)
            if (vboxmanage_settings_text(manage, paths[i], deadline, &outs[i], &lengths[i], NULL) < 0)
                outs[i] = NULL;
        return 0;
    }
    vmc_str list = {0};
    for (size_t i = 0; i < count; i++)
        vmc_str_printf(&list, "%s\n", strchr(paths[i], '\n') ? "/" : paths[i]);
    char mark[VMC_UUID_BYTES] = "";
    vmc_uuid_new(mark);
    VMC_AUTO_FREE char *output = NULL;
    int code = vboxmanage_files_script_fed(manage, texts_script, (const char *const[]){mark, NULL}, &list,
                                           "reading the VMs' settings", deadline, &output, err);
    if (code == 0) {
        VMC_AUTO_FREE char *line = vmc_printf("%s\n", mark);
        code = split_texts(output, count, line, outs, lengths, err);
    }
    vmc_str_free(&list);
    return code;
}
