/* backends/kubevirt/quantity.h - Kubernetes' quantities ("512Mi", "1500m", "1e9"). Source: resource.Quantity of k8s.io/apimachinery. */
#ifndef VMC_KUBEVIRT_QUANTITY_H
#define VMC_KUBEVIRT_QUANTITY_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

/* Bytes (or a count), rounded up to a whole one; false: it is no quantity, negative, or beyond 2^63. */
bool kubevirt_quantity_parse(const char *text, uint64_t *out);
/* Of a JSON value, which may be a number; 0 where there is none. */
uint64_t kubevirt_quantity_of(const cJSON *value);
/* The shortest exact form with a binary suffix: "512Mi"; "1500" where none fits. free. */
char *kubevirt_quantity_format(uint64_t bytes);

#endif
