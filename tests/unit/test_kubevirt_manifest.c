/* backends/kubevirt's translation against what a real KubeVirt took and gave (tests/fixtures/kubevirt), and against KubeVirt's and CDI's
 * own documentation. */
#include "kubevirt_helper.h"

#include "backends/kubevirt/gpus.h"
#include "backends/kubevirt/quantity.h"

static void drop(cJSON *json, const char *path, const char *key) {
    cJSON *map = (cJSON *)vmc_json_at(json, path);
    if (map)
        cJSON_DeleteItemFromObjectCaseSensitive(map, key);
}

/* What vmctl adds to a VM of its own: annotations, and the run strategy under which start and stop rewrite nothing. */
static void assert_like_recorded(kubevirt_manifest *made, cJSON *recorded_vm) {
    assert_string_equal(vmc_json_string(made->vm, "spec.runStrategy", ""), "Manual");
    drop(made->vm, "spec", "runStrategy");
    drop(recorded_vm, "spec", "runStrategy");
    drop(made->vm, "metadata", "annotations");
    /* The person's labels are on the template, too: Services select by the pod's, which are the template's. */
    const cJSON *label;
    cJSON_ArrayForEach(label, vmc_json_at(recorded_vm, "metadata.labels")) vmc_json_put(
        vmc_json_map(recorded_vm, "spec.template.metadata.labels"), label->string, cJSON_Duplicate(label, true));
    assert_same_json(made->vm, recorded_vm);
    cJSON_Delete(recorded_vm);
    kubevirt_manifest_free(made);
}

#define RECORDED_BASE                                                                                                  \
    "labels: {app: t}\ncpus: {cores: 2, count: 2}\nmemory: 512MiB\nnetworks: [{name: default, type: pod}]\n"

static void the_recorded_create_is_what_is_sent(void **state) {
    (void)state;
    kubevirt_manifest made = manifest_of(
        "name: vm2\n" RECORDED_BASE
        "disks: [{name: d0, image: \"docker://quay.io/kubevirt/cirros-container-disk-demo\", bus: virtio}]\n",
        NULL);
    assert_int_equal(cJSON_GetArraySize(made.secrets), 0);
    assert_int_equal(made.notes.count, 1); /* that the disk does not stay */
    assert_like_recorded(&made, recorded("16-create-vm2", true));
}

static void a_data_volume_is_what_cdi_takes(void **state) {
    (void)state;
    kubevirt_manifest made =
        manifest_of("name: dv1\n" RECORDED_BASE
                    "disks: [{name: d0, image: \"http://example.invalid/d.qcow2\", size: 1GiB, bus: virtio}]\n",
                    NULL);
    cJSON *want = recorded("301-vm-with-dvtemplate-create", true);
    /* The name of the data volume is ours. */
    cJSON_ReplaceItemInObject(
        (cJSON *)vmc_json_at(cJSON_GetArrayItem(vmc_json_at(want, "spec.dataVolumeTemplates"), 0), "metadata"), "name",
        cJSON_CreateString("dv1-d0"));
    cJSON_ReplaceItemInObject(
        (cJSON *)vmc_json_at(cJSON_GetArrayItem(vmc_json_at(want, "spec.template.spec.volumes"), 0), "dataVolume"),
        "name", cJSON_CreateString("dv1-d0"));
    assert_like_recorded(&made, want);
}

/* --- GPUs ------------------------------------------------------------------------------------------------------------ */

static cJSON *permitted_of(cJSON *list) {
    return (cJSON *)vmc_json_at(cJSON_GetArrayItem(vmc_json_at(list, "items"), 0),
                                "spec.configuration.permittedHostDevices");
}

#define GPU_SPEC(gpu)                                                                                                  \
    "name: gpu2\n" RECORDED_BASE                                                                                       \
    "disks: [{name: d0, image: \"docker://quay.io/kubevirt/cirros-container-disk-demo\", bus: virtio}]\n"              \
    "gpus: [{name: g1, " gpu "}]\n"

static void a_gpu_is_asked_for_by_resource_ids_or_profile(void **state) {
    (void)state;
    VMC_AUTO_JSON *installation = recorded("08-kubevirt-cr-list", false);
    const cJSON *permitted = permitted_of(installation);
    kubevirt_manifest by_name = manifest_of(GPU_SPEC("resource: nvidia.com/TU104GL_Tesla_T4"), NULL);
    assert_int_equal(kubevirt_gpus_check(by_name.vm, permitted, NULL), 0);
    assert_like_recorded(&by_name, recorded("178-gpu-passthrough-create", true));
    kubevirt_manifest by_ids = manifest_of(GPU_SPEC("device: \"10de:1eb8\""), permitted);
    assert_like_recorded(&by_ids, recorded("178-gpu-passthrough-create", true));
    kubevirt_manifest by_profile = manifest_of(GPU_SPEC("profile: GRID T4-1Q"), permitted);
    assert_string_equal(
        vmc_json_string(cJSON_GetArrayItem(vmc_json_at(by_profile.vm, "spec.template.spec.domain.devices.gpus"), 0),
                        "deviceName", ""),
        "nvidia.com/GRID_T4-1Q");
    kubevirt_manifest_free(&by_profile);
}

static void a_gpu_that_is_not_permitted_is_refused_with_those_that_are(void **state) {
    (void)state;
    VMC_AUTO_JSON *installation = recorded("08-kubevirt-cr-list", false);
    const cJSON *permitted = permitted_of(installation);
    kubevirt_manifest made = manifest_of(GPU_SPEC("resource: nvidia.com/NOTHERE"), NULL);
    vmctl_error *err = NULL;
    assert_int_equal(kubevirt_gpus_check(made.vm, permitted, &err), VMCTL_E_NOT_FOUND);
    assert_non_null(strstr(vmctl_error_message(err), "nvidia.com/NOTHERE"));
    assert_non_null(strstr(vmctl_error_message(err), "nvidia.com/TU104GL_Tesla_T4 (10DE:1EB8)"));
    assert_non_null(strstr(vmctl_error_message(err), "nvidia.com/GRID_T4-1Q (GRID T4-1Q)"));
    vmctl_error_free(err);
    kubevirt_manifest_free(&made);
    vmctl_spec *spec = ready_spec(GPU_SPEC("device: \"10de:ffff\""));
    const kubevirt_making making = {.namespace_name = "default", .permitted = permitted};
    err = NULL;
    assert_int_equal(kubevirt_manifest_of_spec(spec, &making, &made, &err), VMCTL_E_NOT_FOUND);
    assert_non_null(strstr(vmctl_error_message(err), "t.yaml:")); /* with its line */
    assert_non_null(strstr(vmctl_error_message(err), "10DE:1EB8"));
    vmctl_error_free(err);
    kubevirt_manifest_free(&made);
    vmctl_spec_free(spec);
}

static void a_claim_of_dynamic_resource_allocation(void **state) {
    (void)state;
    kubevirt_manifest made = manifest_of(GPU_SPEC("any: {claimTemplate: one-t4, request: gpu}"), NULL);
    VMC_AUTO_JSON *gpus = cJSON_Parse("[{\"name\":\"g1\",\"claimName\":\"g1\",\"requestName\":\"gpu\"}]");
    VMC_AUTO_JSON *claims = cJSON_Parse("[{\"name\":\"g1\",\"resourceClaimTemplateName\":\"one-t4\"}]");
    assert_same_json(vmc_json_at(made.vm, "spec.template.spec.domain.devices.gpus"), gpus);
    assert_same_json(vmc_json_at(made.vm, "spec.template.spec.resourceClaims"), claims);
    kubevirt_manifest_free(&made);
}

/* --- disks ------------------------------------------------------------------------------------------------------------- */

static void assert_at(const cJSON *vm, const char *path, const char *want) {
    VMC_AUTO_JSON *wanted = cJSON_Parse(want);
    assert_non_null(wanted);
    assert_same_json(vmc_json_at(vm, path), wanted);
}

static void each_kind_of_disk(void **state) {
    (void)state;
    kubevirt_manifest made =
        manifest_of("name: web\nmemory: 1GiB\nnetworks: []\n"
                    "placement: {namespace: team, storageClass: slow}\n"
                    "disks:\n"
                    "  - {name: blank, size: 10GiB, pool: fast, serial: S1, cache: none, io: native}\n"
                    "  - {name: stays, image: \"docker://img\", size: 5GiB}\n"
                    "  - {name: gold, image: \"library:images/debian\"}\n"
                    "  - {name: copy, image: \"pvc:old\"}\n"
                    "  - {name: mine, volume: claim-1, readonly: true, bus: scsi}\n"
                    "  - {name: both, size: 1GiB, shared: true}\n"
                    "  - {name: cd, cdrom: \"pvc:iso\"}\n"
                    "  - {name: none, cdrom: \"\"}\n",
                    NULL);
    assert_at(made.vm, "metadata.namespace", "\"team\"");
    assert_at(
        made.vm, "spec.dataVolumeTemplates",
        "[{\"metadata\":{\"name\":\"web-blank\"},\"spec\":{\"storage\":{\"resources\":{\"requests\":{\"storage\":"
        "\"10Gi\"}},\"storageClassName\":\"fast\"},\"source\":{\"blank\":{}}}},"
        "{\"metadata\":{\"name\":\"web-stays\"},\"spec\":{\"storage\":{\"resources\":{\"requests\":{\"storage\":"
        "\"5Gi\"}},\"storageClassName\":\"slow\"},\"source\":{\"registry\":{\"url\":\"docker://img\"}}}},"
        "{\"metadata\":{\"name\":\"web-gold\"},\"spec\":{\"storage\":{\"storageClassName\":\"slow\"},\"sourceRef\":{"
        "\"kind\":\"DataSource\",\"namespace\":\"images\",\"name\":\"debian\"}}},"
        "{\"metadata\":{\"name\":\"web-copy\"},\"spec\":{\"storage\":{\"storageClassName\":\"slow\"},\"source\":{"
        "\"pvc\":{\"namespace\":\"team\",\"name\":\"old\"}}}},"
        "{\"metadata\":{\"name\":\"web-both\"},\"spec\":{\"storage\":{\"resources\":{\"requests\":{\"storage\":"
        "\"1Gi\"}},\"storageClassName\":\"slow\",\"accessModes\":[\"ReadWriteMany\"],\"volumeMode\":\"Block\"},"
        "\"source\":{\"blank\":{}}}}]");
    assert_at(made.vm, "spec.template.spec.volumes",
              "[{\"name\":\"blank\",\"dataVolume\":{\"name\":\"web-blank\"}},{\"name\":\"stays\",\"dataVolume\":{"
              "\"name\":\"web-stays\"}},{\"name\":\"gold\",\"dataVolume\":{\"name\":\"web-gold\"}},{\"name\":\"copy\","
              "\"dataVolume\":{\"name\":\"web-copy\"}},{\"name\":\"mine\",\"persistentVolumeClaim\":{\"claimName\":"
              "\"claim-1\"}},{\"name\":\"both\",\"dataVolume\":{\"name\":\"web-both\"}},{\"name\":\"cd\","
              "\"persistentVolumeClaim\":{\"claimName\":\"iso\"}}]");
    assert_at(
        made.vm, "spec.template.spec.domain.devices.disks",
        "[{\"name\":\"blank\",\"disk\":{\"bus\":\"virtio\"},\"serial\":\"S1\",\"cache\":\"none\",\"io\":\"native\"},"
        "{\"name\":\"stays\",\"disk\":{\"bus\":\"virtio\"}},{\"name\":\"gold\",\"disk\":{\"bus\":\"virtio\"}},"
        "{\"name\":\"copy\",\"disk\":{\"bus\":\"virtio\"}},{\"name\":\"mine\",\"disk\":{\"bus\":\"scsi\","
        "\"readonly\":true}},{\"name\":\"both\",\"disk\":{\"bus\":\"virtio\"},\"shareable\":true},"
        "{\"name\":\"cd\",\"cdrom\":{\"bus\":\"sata\"}},{\"name\":\"none\",\"cdrom\":{\"bus\":\"sata\"}}]");
    /* KubeVirt would attach one by itself. */
    assert_at(made.vm, "spec.template.spec.domain.devices.autoattachPodInterface", "false");
    kubevirt_manifest_free(&made);
}

/* --- the rest ------------------------------------------------------------------------------------------------------------ */

static void cpus_memory_and_machine(void **state) {
    (void)state;
    kubevirt_manifest made =
        manifest_of("name: m\ncpus: {count: 2, max: 8, model: host}\nmemory: {size: 2GiB, max: 8GiB, "
                    "hugepages: true}\narch: aarch64\nmachine: virt\nfirmware: {type: uefi, "
                    "secureBoot: true, tpm: true}\nconfidential: sev-snp\ndisks: [{name: d, size: "
                    "1GiB}]\nboot: {order: [net0, d]}\nwatchdog: poweroff\nrng: true\ndisplay: "
                    "none\nserial: {log: x.log}\nplacement: {host: node7, nodeSelector: {disk: ssd}}\n",
                    NULL);
    const cJSON *pod = vmc_json_at(made.vm, "spec.template.spec");
    assert_at(pod, "domain.cpu", "{\"sockets\":2,\"maxSockets\":8,\"model\":\"host-passthrough\"}");
    assert_at(pod, "domain.memory", "{\"guest\":\"2Gi\",\"maxGuest\":\"8Gi\",\"hugepages\":{\"pageSize\":\"2Mi\"}}");
    assert_at(pod, "domain.firmware", "{\"bootloader\":{\"efi\":{\"secureBoot\":true}}}");
    assert_at(pod, "domain.features", "{\"smm\":{\"enabled\":true}}"); /* secure boot needs it */
    assert_at(pod, "domain.launchSecurity", "{\"snp\":{}}");
    assert_at(pod, "domain.machine", "{\"type\":\"virt\"}");
    assert_at(pod, "architecture", "\"arm64\"");
    assert_at(pod, "nodeSelector", "{\"disk\":\"ssd\",\"kubernetes.io/hostname\":\"node7\"}");
    assert_at(pod, "domain.devices",
              "{\"tpm\":{},\"disks\":[{\"name\":\"d\",\"disk\":{\"bus\":\"virtio\"},\"bootOrder\":2}],\"interfaces\":[{"
              "\"name\":\"net0\",\"masquerade\":{},\"bootOrder\":1}],\"autoattachGraphicsDevice\":false,"
              "\"logSerialConsole\":true,\"rng\":{},\"watchdog\":{\"name\":\"watchdog\",\"i6300esb\":{\"action\":"
              "\"poweroff\"}}}");
    kubevirt_manifest_free(&made);
    made =
        manifest_of("name: m\nkubevirt: {instancetype: u1.medium, preference: VirtualMachinePreference/mine}\ndisks: "
                    "[{name: d, size: 1GiB}]\n",
                    NULL);
    assert_at(made.vm, "spec.instancetype", "{\"name\":\"u1.medium\"}");
    assert_at(made.vm, "spec.preference", "{\"kind\":\"VirtualMachinePreference\",\"name\":\"mine\"}");
    assert_null(vmc_json_at(made.vm, "spec.template.spec.domain.cpu"));
    assert_null(vmc_json_at(made.vm, "spec.template.spec.domain.memory"));
    kubevirt_manifest_free(&made);
}

static void cloud_init_goes_into_a_secret_when_it_is_large_or_one(void **state) {
    (void)state;
    kubevirt_manifest made = manifest_of("name: c\nmemory: 1GiB\ndisks: [{name: d, size: 1GiB}]\ncloudInit: {hostname: "
                                         "web, userData: {inline: \"#cloud-config\\n{}\\n\"}}\n",
                                         NULL);
    assert_int_equal(cJSON_GetArraySize(made.secrets), 0);
    assert_string_equal(vmc_json_string(kubevirt_volume_of(made.vm, "cloudinit"), "cloudInitNoCloud.userData", ""),
                        "#cloud-config\n{}\n");
    assert_string_equal(vmc_json_string(made.vm, "spec.template.spec.hostname", ""), "web");
    kubevirt_manifest_free(&made);
    /* What vmctl writes for a user says "lock_passwd: true", which is no password. */
    made = manifest_of("name: c\nmemory: 1GiB\ndisks: [{name: d, size: 1GiB}]\ncloudInit: {user: ci, sshKeys: "
                       "[\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKtest me\"]}\n",
                       NULL);
    assert_int_equal(cJSON_GetArraySize(made.secrets), 0);
    assert_non_null(strstr(vmc_json_string(kubevirt_volume_of(made.vm, "cloudinit"), "cloudInitNoCloud.userData", ""),
                           "lock_passwd: true"));
    kubevirt_manifest_free(&made);
    made = manifest_of("name: c\nguest: windows\nmemory: 1GiB\ndisks: [{name: d, size: 1GiB}]\ncloudInit: {userData: "
                       "{inline: \"#cloud-config\\npassword: geheim\\n\"}}\n",
                       NULL);
    assert_int_equal(cJSON_GetArraySize(made.secrets), 1);
    const cJSON *secret = cJSON_GetArrayItem(made.secrets, 0);
    assert_string_equal(vmc_json_string(secret, "metadata.name", ""), "c-cloudinit");
    /* base64 of "#cloud-config\npassword: geheim\n" */
    assert_string_equal(vmc_json_string(secret, "data.userdata", ""), "I2Nsb3VkLWNvbmZpZwpwYXNzd29yZDogZ2VoZWltCg==");
    assert_string_equal(
        vmc_json_string(kubevirt_volume_of(made.vm, "cloudinit"), "cloudInitConfigDrive.secretRef.name", ""),
        "c-cloudinit");
    VMC_AUTO_FREE char *text = cJSON_Print(made.vm);
    assert_null(strstr(text, "geheim"));
    kubevirt_manifest_free(&made);
}

static void a_patch_has_the_last_word(void **state) {
    (void)state;
    kubevirt_manifest made =
        manifest_of("name: p\nmemory: 1GiB\ndisks: [{name: d, size: 1GiB}]\nkubevirt:\n  patch:\n"
                    "    - {op: replace, path: /spec/runStrategy, value: Always}\n"
                    "    - {op: add, path: /spec/template/spec/domain/ioThreadsPolicy, value: auto}\n"
                    "    - {op: add, path: /spec/template/spec/terminationGracePeriodSeconds, value: 5}\n",
                    NULL);
    assert_string_equal(vmc_json_string(made.vm, "spec.runStrategy", ""), "Always");
    assert_int_equal(vmc_json_integer(made.vm, "spec.template.spec.terminationGracePeriodSeconds", 0), 5);
    assert_string_equal(vmc_json_string(made.vm, "spec.template.spec.domain.ioThreadsPolicy", ""), "auto");
    kubevirt_manifest_free(&made);
}

/* What an annotation holds, everybody reads who may look at the VM. */
static void no_annotation_holds_a_password(void **state) {
    (void)state;
    kubevirt_manifest made = manifest_of(
        "name: a\nmemory: 1GiB\ndisks: [{name: d, size: 1GiB}]\n"
        "libvirt: {xmlPatch: \"<graphics type='vnc' passwd='geheim'/>\"}\n"
        "virtualbox:\n"
        "  modifyvm: {vrdeproperty: VNCPassword=geheim, chipset: ich9}\n"
        "  extraData: {\"a/Token\": geheim, list: [1, \"https://me:geheim@host/\"], in: {secret: geheim}}\n",
        NULL);
    VMC_AUTO_FREE char *text = cJSON_Print(made.vm);
    assert_null(strstr(text, "geheim"));
    assert_non_null(strstr(text, "ich9")); /* the rest is kept */
    kubevirt_manifest_free(&made);
}

static void a_native_document_keeps_all_its_fields(void **state) {
    (void)state;
    vmctl_spec *spec = ready_spec("apiVersion: kubevirt.io/v1\nkind: VirtualMachine\nmetadata:\n  name: nat\n  labels: "
                                  "&l {a: b}\nspec:\n  runStrategy: Halted\n  template:\n    metadata: {labels: *l}\n"
                                  "    spec:\n      unknownToVmctl: [1, 1.5, null, \"1\", yes, true]\n");
    const vmctl_marker marker = {.size = sizeof marker, .version = "1.2", .owner = "me@host", .created = 1700000000};
    const kubevirt_making making = {.namespace_name = "team", .marker = &marker};
    kubevirt_manifest made;
    vmctl_error *err = NULL;
    assert_int_equal(kubevirt_manifest_of_native(spec, &making, &made, &err), 0);
    assert_at(made.vm, "spec",
              "{\"runStrategy\":\"Halted\",\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{"
              "\"unknownToVmctl\":[1,1.5,null,\"1\",\"yes\",true]}}}");
    assert_at(made.vm, "metadata",
              "{\"name\":\"nat\",\"namespace\":\"team\",\"labels\":{\"a\":\"b\",\"vmctl.dev/managed-by\":\"vmctl\","
              "\"vmctl.dev/owner\":\"me_host\"},\"annotations\":{\"vmctl.dev/version\":\"1.2\",\"vmctl.dev/owner\":"
              "\"me@host\",\"vmctl.dev/created\":\"2023-11-14T22:13:20Z\"}}");
    kubevirt_manifest_free(&made);
    vmctl_spec_free(spec);
}

/* --- refusals ------------------------------------------------------------------------------------------------------------ */

static void what_cannot_be_is_refused_with_its_line(void **state) {
    (void)state;
    static const struct {
        const char *yaml, *words;
        int code;
    } cases[] = {
        {"name: Web_1\nmemory: 1GiB\ndisks: [{name: d, size: 1GiB}]\n", "no name for Kubernetes", VMCTL_E_INVALID_SPEC},
        {"name: a\nmemory: 1GiB\ndisks: [{name: Root, size: 1GiB}]\n", "no name for Kubernetes", VMCTL_E_INVALID_SPEC},
        {"name: a\nmemory: 1GiB\ndisks: [{name: d, image: \"http://x/y\"}]\n", "give it a size", VMCTL_E_INVALID_SPEC},
        {"name: a\nmemory: 1GiB\ndisks: [{name: d, volume: pool/x}]\n", "PersistentVolumeClaim", VMCTL_E_INVALID_SPEC},
        {"name: a\nmemory: 1GiB\ndisks: [{name: d, image: \"ftp://x/y\", size: 1GiB}]\n", "no image that KubeVirt",
         VMCTL_E_UNSUPPORTED},
        {"name: a\nmemory: 1GiB\ndisks: [{name: d, size: 1GiB}]\nnetworks: [{type: pod}, {type: nat}]\n",
         "one network of its own", VMCTL_E_UNSUPPORTED},
        {"name: a\nmemory: 1GiB\ndisks: [{name: d, size: 1GiB}]\nnetworks: [{type: bridge, source: br0}]\n",
         "sees no bridge", VMCTL_E_UNSUPPORTED},
        {"name: a\nmemory: 1GiB\ncpus: {count: 4, cores: 4, max: 6}\ndisks: [{name: d, size: 1GiB}]\n", "whole sockets",
         VMCTL_E_INVALID_SPEC},
        {"name: a\nmemory: 1GiB\nkubevirt: {instancetype: u1}\ndisks: [{name: d, size: 1GiB}]\n",
         "instance type says this", VMCTL_E_INVALID_SPEC},
        {"name: a\nmemory: 1GiB\nkubevirt: {patch: [{op: remove, path: /nowhere}]}\ndisks: [{name: d, size: 1GiB}]\n",
         "nothing at its path", VMCTL_E_INVALID_SPEC},
        {"name: a\nmemory: 1GiB\nplacement: {namespace: A_B}\ndisks: [{name: d, size: 1GiB}]\n", "no namespace",
         VMCTL_E_INVALID_SPEC},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        vmctl_spec *spec = ready_spec(cases[i].yaml);
        const kubevirt_making making = {.namespace_name = "default"};
        kubevirt_manifest made;
        vmctl_error *err = NULL;
        int code = kubevirt_manifest_of_spec(spec, &making, &made, &err);
        if (code != cases[i].code || !strstr(vmctl_error_text(err), cases[i].words) ||
            !strstr(vmctl_error_text(err), "t.yaml:"))
            fail_msg("%s -> %s: %s", cases[i].yaml, vmctl_code_name(code), err ? vmctl_error_text(err) : "");
        vmctl_error_free(err);
        kubevirt_manifest_free(&made);
        vmctl_spec_free(spec);
    }
}

/* --- back ---------------------------------------------------------------------------------------------------------------- */

/* What create sends, read back, is what was asked for: apply finds nothing to change. */
static void a_spec_comes_back_as_it_was(void **state) {
    (void)state;
    static const char *const specs[] = {
        "name: a\nmemory: 1GiB\ndisks: [{name: d, size: 1GiB}]\n",
        "name: a\nlabels: {team: infra, \"@odd\": \"a b\"}\ndescription: words\nmemory: {size: 1GiB, max: 4GiB}\n"
        "cpus: {sockets: 2}\nautostart: true\nguestAgent: true\ndisks: [{name: d, image: \"docker://x\"}]\n"
        "networks: [{name: n, type: nat, mac: \"52:54:00:12:34:56\", model: e1000e, link: down}]\n",
        "name: a\nmemory: 512MiB\ncpus: {count: 8, sockets: 2, cores: 2, threads: 2, model: host}\nguest: windows\n"
        "firmware: {type: uefi, tpm: true}\nmachine: q35\ndisks: [{name: d, image: \"http://h/x\", size: 2GiB, pool: "
        "p}, {name: cd, cdrom: \"\"}]\nboot: {order: [cd, d]}\nserial: {log: s.log}\ndisplay: vnc\nwatchdog: reset\n",
        "name: a\nmemory: 512MiB\nnetworks: [{name: m, type: multus, source: net-a}, {name: b, type: bridge, source: "
        "pod}]\ndisks: [{name: d, volume: c, shared: true, serial: x}]\ngpus: [{name: g, resource: nvidia.com/A}]\n"
        "placement: {host: n1, namespace: ns1}\ncloudInit: {user: ci, hostname: h1}\n",
    };
    for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++) {
        kubevirt_manifest made = manifest_of(specs[i], NULL);
        VMC_AUTO_JSON *json = kubevirt_read_vm(made.vm, true);
        vmctl_spec *have = NULL;
        vmctl_error *err = NULL;
        assert_int_equal(vmc_json_to_spec(json, &have, &err), 0);
        size_t count = 0;
        vmctl_spec **want = load_all(specs[i], NULL, false, &count);
        vmctl_diff *diff = NULL;
        if (vmctl_spec_diff(have, want[0], NULL, &diff, &err) < 0)
            fail_msg("%s\n%s", vmctl_error_text(err), specs[i]);
        for (size_t c = 0; c < vmctl_diff_count(diff); c++)
            print_error("%s: %s -> %s\n", vmctl_diff_at(diff, c)->path, vmctl_diff_at(diff, c)->have_text,
                        vmctl_diff_at(diff, c)->want_text);
        assert_int_equal(vmctl_diff_count(diff), 0);
        vmctl_diff_free(diff);
        vmctl_spec_free(have);
        vmctl_spec_list_free(want);
        kubevirt_manifest_free(&made);
    }
}

static void a_vm_of_others_is_a_spec_too(void **state) {
    (void)state;
    VMC_AUTO_JSON *vm = recorded("34-get", false);
    VMC_AUTO_JSON *spec = kubevirt_read_vm(vm, true);
    assert_at(spec, "name", "\"vm1\"");
    assert_at(spec, "labels", "{\"app\":\"t\"}");
    assert_at(spec, "cpus", "{\"count\":2,\"sockets\":1,\"cores\":2,\"threads\":1}");
    assert_at(spec, "memory", "{\"size\":\"512MiB\"}");
    assert_at(
        spec, "disks",
        "[{\"name\":\"d0\",\"image\":\"docker://quay.io/kubevirt/cirros-container-disk-demo\",\"bus\":\"virtio\"}]");
    assert_at(spec, "networks", "[{\"name\":\"default\",\"type\":\"pod\"}]");
    assert_at(spec, "autostart", "true"); /* runStrategy Always */
}

/* --- small things -------------------------------------------------------------------------------------------------------- */

static void quantities_are_read_as_kubernetes_does(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t value;
        bool good;
    } cases[] = {
        {"512Mi", 536870912, true}, {"1Gi", 1073741824, true},
        {"1G", 1000000000, true},   {"1500m", 2, true},
        {"1e3", 1000, true},        {"1E", 1000000000000000000, true},
        {"0.5Gi", 536870912, true}, {"128974848", 128974848, true},
        {"100k", 100000, true},     {"", 0, false},
        {"-1", 0, false},           {"1Xi", 0, false},
        {"Mi", 0, false},           {"0x10", 0, false},
        {"inf", 0, false},          {"9Ei", 0, false},
        {"1e", 0, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t value = 0;
        bool good = kubevirt_quantity_parse(cases[i].text, &value);
        if (good != cases[i].good || (good && value != cases[i].value))
            fail_msg("\"%s\" is %s %llu", cases[i].text, good ? "" : "not", (unsigned long long)value);
    }
    VMC_AUTO_FREE char *half = kubevirt_quantity_format(536870912);
    VMC_AUTO_FREE char *odd = kubevirt_quantity_format(1500);
    assert_string_equal(half, "512Mi");
    assert_string_equal(odd, "1500");
}

static void names_are_those_of_kubernetes(void **state) {
    (void)state;
    assert_true(kubevirt_is_vm_name("web-1"));
    assert_true(kubevirt_is_vm_name("a.b"));
    assert_false(kubevirt_is_vm_name("Web"));
    assert_false(kubevirt_is_vm_name("-a"));
    assert_false(kubevirt_is_vm_name("a..b"));
    assert_false(kubevirt_is_vm_name("aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggg"));
    assert_true(kubevirt_is_label_key("vmctl.dev/owner"));
    assert_false(kubevirt_is_label_key("a/b/c"));
    assert_false(kubevirt_is_label_key("/b"));
    assert_true(kubevirt_is_label_value(""));
    assert_false(kubevirt_is_label_value("me@host"));
    VMC_AUTO_FREE char *value = kubevirt_label_value("@me@host!");
    assert_string_equal(value, "me_host");
    assert_false(kubevirt_is_own_label("kubevirt.io/vm"));
    assert_false(kubevirt_is_own_label("vm.kubevirt.io/name"));
    assert_true(kubevirt_is_own_label("team"));
    assert_true(kubevirt_is_own_label("example.com/team"));
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_recorded_create_is_what_is_sent),
        cmocka_unit_test(a_data_volume_is_what_cdi_takes),
        cmocka_unit_test(a_gpu_is_asked_for_by_resource_ids_or_profile),
        cmocka_unit_test(a_gpu_that_is_not_permitted_is_refused_with_those_that_are),
        cmocka_unit_test(a_claim_of_dynamic_resource_allocation),
        cmocka_unit_test(each_kind_of_disk),
        cmocka_unit_test(cpus_memory_and_machine),
        cmocka_unit_test(cloud_init_goes_into_a_secret_when_it_is_large_or_one),
        cmocka_unit_test(a_patch_has_the_last_word),
        cmocka_unit_test(no_annotation_holds_a_password),
        cmocka_unit_test(a_native_document_keeps_all_its_fields),
        cmocka_unit_test(what_cannot_be_is_refused_with_its_line),
        cmocka_unit_test(a_spec_comes_back_as_it_was),
        cmocka_unit_test(a_vm_of_others_is_a_spec_too),
        cmocka_unit_test(quantities_are_read_as_kubernetes_does),
        cmocka_unit_test(names_are_those_of_kubernetes),
    };
    return cmocka_run_group_tests_name("kubevirt_manifest", tests, NULL, NULL);
}
