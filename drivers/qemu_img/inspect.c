/* drivers/qemu_img/inspect.c - what an image is: qemu-img info, compare and check. */
#include "drivers/qemu_img/run.h"
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { STEP_MS = 60000, CHECK_LEAKS = 3, CHECK_ERRORS = 2, CHECK_UNSUPPORTED = 63 };

static char *json_string(const cJSON *object, const char *key) {
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));
    return text && *text ? vmc_strdup(text) : NULL;
}

static uint64_t json_number(const cJSON *object, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsNumber(item) && item->valuedouble > 0 ? (uint64_t)item->valuedouble : 0;
}

static bool json_true(const cJSON *object, const char *key) {
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(object, key));
}

static void read_info(const cJSON *json, qemu_img_info *out) {
    out->format = json_string(json, "format");
    out->virtual_bytes = json_number(json, "virtual-size");
    out->allocated_bytes = json_number(json, "actual-size");
    out->backing = json_string(json, "backing-filename");
    out->backing_path = json_string(json, "full-backing-filename");
    out->backing_format = json_string(json, "backing-filename-format");
    out->encrypted = json_true(json, "encrypted");
    out->dirty = json_true(json, "dirty-flag");
    const cJSON *specific = cJSON_GetObjectItemCaseSensitive(json, "format-specific");
    out->data_file = json_string(cJSON_GetObjectItemCaseSensitive(specific, "data"), "data-file");
    const cJSON *snapshot;
    cJSON_ArrayForEach(snapshot, cJSON_GetObjectItemCaseSensitive(json, "snapshots")) {
        const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(snapshot, "name"));
        vmc_strv_add(&out->snapshots, name ? name : "");
    }
}

/* Told from the header alone. */
static int inspect_foreign(const char *path, const char *format, char *file, uint64_t bytes, qemu_img_info *out) {
    struct stat st;
    out->format = vmc_strdup(format);
    out->data_file = file;
    out->virtual_bytes = bytes;
    out->allocated_bytes = stat(path, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
    return 0;
}

int qemu_img_inspect(const char *path, const char *format, const vmc_deadline *deadline, qemu_img_info *out,
                     vmctl_error **err) {
    *out = (qemu_img_info){0};
    const char *known = NULL;
    int rc = qemu_img_source_format(path, format, &known, err);
    if (rc < 0)
        return rc;
    uint64_t bytes = 0;
    char *foreign = qemu_img_foreign_file(path, known, &bytes);
    if (foreign)
        return inspect_foreign(path, known, foreign, bytes, out);
    VMC_AUTO_FREE char *file = qemu_img_path(path);
    VMC_AUTO_FREE char *action = vmc_printf("inspect %s", path);
    VMC_AUTO_FREE char *doing = vmc_printf("inspecting %s", path);
    VMC_AUTO_STRV argv = {0};
    qemu_img_words(&argv, (const char *const[]){"info", "--output=json", "-U", "-f", known, file, NULL});
    qemu_img_run run = {.action = action, .doing = doing};
    vmc_deadline step = vmc_deadline_within(deadline, STEP_MS);
    PROCESS_AUTO_RESULT result = {0};
    rc = qemu_img_execute(&run, &argv, NULL, &step, &result, err);
    if (rc < 0)
        return rc;
    cJSON *json = cJSON_Parse(result.output);
    if (!json)
        return vmc_error(err, VMCTL_E_INTERNAL, "cannot understand what qemu-img says of %s", path);
    read_info(json, out);
    cJSON_Delete(json);
    return 0;
}

void qemu_img_info_free(qemu_img_info *info) {
    if (!info)
        return;
    free(info->format);
    free(info->backing);
    free(info->backing_path);
    free(info->backing_format);
    free(info->data_file);
    vmc_strv_free(&info->snapshots);
    *info = (qemu_img_info){0};
}

int qemu_img_compare(const char *a, const char *a_format, const char *b, const char *b_format,
                     const vmc_deadline *deadline, bool *same, vmctl_error **err) {
    const char *fa = NULL, *fb = NULL;
    int rc = qemu_img_source_format(a, a_format, &fa, err);
    if (rc == 0)
        rc = qemu_img_source_format(b, b_format, &fb, err);
    if (rc < 0)
        return rc;
    VMC_AUTO_FREE char *pa = qemu_img_path(a), *pb = qemu_img_path(b);
    VMC_AUTO_FREE char *action = vmc_printf("compare %s with %s", a, b);
    VMC_AUTO_FREE char *doing = vmc_printf("comparing %s with %s", a, b);
    VMC_AUTO_STRV argv = {0};
    qemu_img_words(&argv, (const char *const[]){"compare", "-q", "-f", fa, "-F", fb, pa, pb, NULL});
    qemu_img_run run = {.action = action, .doing = doing};
    PROCESS_AUTO_RESULT result = {0};
    static const int differ[] = {1, 0};
    rc = qemu_img_execute(&run, &argv, differ, deadline, &result, err);
    if (rc == 0)
        *same = result.status == 0;
    return rc;
}

int qemu_img_check(const char *path, const char *format, const vmc_deadline *deadline, qemu_img_check_result *out,
                   vmctl_error **err) {
    *out = (qemu_img_check_result){0};
    const char *known = NULL;
    int rc = qemu_img_source_format(path, format, &known, err);
    if (rc < 0)
        return rc;
    VMC_AUTO_FREE char *file = qemu_img_path(path);
    VMC_AUTO_FREE char *action = vmc_printf("check %s", path);
    VMC_AUTO_FREE char *doing = vmc_printf("checking %s", path);
    VMC_AUTO_STRV argv = {0};
    qemu_img_words(&argv, (const char *const[]){"check", "--output=json", "-f", known, file, NULL});
    qemu_img_run run = {.action = action, .doing = doing};
    PROCESS_AUTO_RESULT result = {0};
    static const int answers[] = {CHECK_ERRORS, CHECK_LEAKS, CHECK_UNSUPPORTED, 0};
    rc = qemu_img_execute(&run, &argv, answers, deadline, &result, err);
    if (rc < 0 || result.status == CHECK_UNSUPPORTED)
        return rc;
    cJSON *json = cJSON_Parse(result.output);
    if (!json)
        return vmc_error(err, VMCTL_E_INTERNAL, "cannot understand what qemu-img says of %s", path);
    out->supported = true;
    out->errors = json_number(json, "corruptions") + json_number(json, "check-errors");
    out->leaks = json_number(json, "leaks");
    cJSON_Delete(json);
    return 0;
}

/* Each range with `depth` 0 that is there is the overlay's own (qemu-img(1), "map"). */
int qemu_img_is_untouched(const char *path, const char *format, const vmc_deadline *deadline, bool *untouched,
                          vmctl_error **err) {
    VMC_AUTO_FREE char *file = qemu_img_path(path);
    VMC_AUTO_FREE char *action = vmc_printf("read the map of %s", path);
    VMC_AUTO_FREE char *doing = vmc_printf("reading the map of %s", path);
    VMC_AUTO_STRV argv = {0};
    qemu_img_words(&argv, (const char *const[]){"map", "--output=json", "-f", format, file, NULL});
    qemu_img_run run = {.action = action, .doing = doing};
    PROCESS_AUTO_RESULT result = {0};
    int rc = qemu_img_execute(&run, &argv, NULL, deadline, &result, err);
    if (rc < 0)
        return rc;
    cJSON *map = cJSON_Parse(result.output);
    if (!cJSON_IsArray(map))
        rc = vmc_error(err, VMCTL_E_INTERNAL, "qemu-img gave no map of %s", path);
    *untouched = rc == 0;
    const cJSON *range;
    cJSON_ArrayForEach(range, map) {
        const cJSON *depth = cJSON_GetObjectItemCaseSensitive(range, "depth");
        const cJSON *present = cJSON_GetObjectItemCaseSensitive(range, "present"); /* since QEMU 6.1 */
        *untouched = *untouched && !(cJSON_IsNumber(depth) && depth->valuedouble == 0 && !cJSON_IsFalse(present));
    }
    cJSON_Delete(map);
    return rc;
}
