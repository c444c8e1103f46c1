/* drivers/kube/certificate.c - whether what a kubeconfig calls a certificate or a key is one, before a server is asked. */
#include "drivers/kube/config.h"
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>
#include <time.h>

/* A key with a passphrase: nobody is asked for one here. */
static int no_passphrase(char *buffer, int size, int writing, void *user) {
    (void)buffer;
    (void)size;
    (void)writing;
    *(bool *)user = true;
    return -1;
}

static BIO *open_text(const char *pem) {
    return BIO_new_mem_buf(pem, (int)strlen(pem));
}

static X509 *first_certificate(const char *pem) {
    BIO *bio = open_text(pem);
    X509 *certificate = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    ERR_clear_error();
    return certificate;
}

bool kube_certificates_ok(const char *pem, const char **why) {
    X509 *certificate = first_certificate(pem);
    X509_free(certificate);
    if (!certificate)
        *why = strstr(pem, "-----BEGIN") ? "no certificate can be read in this PEM text" : "this is no PEM text";
    return certificate != NULL;
}

bool kube_key_ok(const char *cert_pem, const char *key_pem, const char **why) {
    bool locked = false;
    BIO *bio = open_text(key_pem);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &locked) : NULL;
    BIO_free(bio);
    X509 *certificate = first_certificate(cert_pem);
    bool fits = key && certificate && X509_check_private_key(certificate, key) == 1;
    if (!key)
        *why = locked ? "the key has a passphrase, which cannot be asked for" : "no private key can be read in it";
    else if (!fits)
        *why = "the key is not that of the client certificate";
    EVP_PKEY_free(key);
    X509_free(certificate);
    ERR_clear_error();
    return fits;
}

char *kube_certificate_expired(const char *pem, bool *future) {
    X509 *certificate = first_certificate(pem);
    char *text = NULL;
    *future = certificate && X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0;
    bool past = certificate && X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0;
    struct tm when;
    if ((past || *future) &&
        ASN1_TIME_to_tm(past ? X509_get0_notAfter(certificate) : X509_get0_notBefore(certificate), &when) == 1) {
        char moment[64];
        strftime(moment, sizeof moment, "%Y-%m-%d %H:%M:%S UTC", &when);
        text = vmc_strdup(moment);
    }
    X509_free(certificate);
    return text;
}
