/* JSON, the only user of cJSON. Readers name the document and the key in every error; builders return a status. */
#ifndef LG_BASE_JSON_H
#define LG_BASE_JSON_H

#include "base/status.h"

typedef struct cJSON lg_json;

/* `what` names the document in errors, e.g. a path. Free with lg_json_free(). */
lego_status lg_json_parse(lg_json **out, const char *text, size_t length, const char *what);
lego_status lg_json_load(lg_json **out, const char *path);
/* Text of a document; free with lg_free. `pretty` indents. */
lego_status lg_json_print(char **out, const lg_json *json, int pretty);
/* Write a document (indented, final newline), atomically. */
lego_status lg_json_save(const lg_json *json, const char *path);
void lg_json_free(lg_json *json);

/* --- reading: `what` names the place in errors; the _or forms give `fallback` when the key is absent --- */
int lg_json_has(const lg_json *object, const char *key);
lego_status lg_json_get_string(const char **out, const lg_json *object, const char *key, const char *what);
lego_status lg_json_get_int(int64_t *out, const lg_json *object, const char *key, int64_t min, int64_t max,
                            const char *what);
lego_status lg_json_get_double(double *out, const lg_json *object, const char *key, const char *what);
lego_status lg_json_get_bool(int *out, const lg_json *object, const char *key, const char *what);
lego_status lg_json_get_object(const lg_json **out, const lg_json *object, const char *key, const char *what);
lego_status lg_json_get_array(const lg_json **out, const lg_json *object, const char *key, const char *what);
lego_status lg_json_get_string_or(const char **out, const lg_json *object, const char *key, const char *fallback,
                                  const char *what);
lego_status lg_json_get_int_or(int64_t *out, const lg_json *object, const char *key, int64_t fallback, int64_t min,
                               int64_t max, const char *what);
lego_status lg_json_get_double_or(double *out, const lg_json *object, const char *key, double fallback,
                                  const char *what);
lego_status lg_json_get_bool_or(int *out, const lg_json *object, const char *key, int fallback, const char *what);
/* Take a member out of an object: the caller owns `*out`; NULL if there is none of that key. */
lego_status lg_json_detach(lg_json **out, lg_json *object, const char *key);
/* Check that the document is an object whose "schema" is `schema`. */
lego_status lg_json_check_schema(const lg_json *json, const char *schema, const char *what);

size_t lg_json_length(const lg_json *array);                   /* of an array or object */
const lg_json *lg_json_item(const lg_json *array, size_t i);   /* linear time: use lg_json_each for loops */
const lg_json *lg_json_first(const lg_json *container);
const lg_json *lg_json_next(const lg_json *item);
#define lg_json_each(item, container)                                         \
    for (const lg_json *item = lg_json_first(container); item; item = lg_json_next(item))
const char *lg_json_key(const lg_json *item);                  /* of an object's member; NULL in arrays */
int lg_json_is_object(const lg_json *json);
int lg_json_is_array(const lg_json *json);
int lg_json_is_string(const lg_json *json);
int lg_json_is_number(const lg_json *json);
/* The value of an item itself. */
lego_status lg_json_string(const char **out, const lg_json *item, const char *what);
lego_status lg_json_int(int64_t *out, const lg_json *item, int64_t min, int64_t max, const char *what);
lego_status lg_json_double(double *out, const lg_json *item, const char *what);

/* --- building --- */
lego_status lg_json_create_object(lg_json **out);
lego_status lg_json_create_array(lg_json **out);
lego_status lg_json_set_string(lg_json *object, const char *key, const char *value);
lego_status lg_json_set_int(lg_json *object, const char *key, int64_t value);
lego_status lg_json_set_double(lg_json *object, const char *key, double value); /* NaN, infinity: null */
lego_status lg_json_set_bool(lg_json *object, const char *key, int value);
/* Create an empty object or array inside; `*out` is borrowed from the parent. */
lego_status lg_json_set_object(lg_json **out, lg_json *object, const char *key);
lego_status lg_json_set_array(lg_json **out, lg_json *object, const char *key);
/* Take ownership of `*value` on success (and clear it). */
lego_status lg_json_set_item(lg_json *object, const char *key, lg_json **value);
lego_status lg_json_push_item(lg_json *array, lg_json **value);
lego_status lg_json_push_string(lg_json *array, const char *value);
lego_status lg_json_push_int(lg_json *array, int64_t value);
lego_status lg_json_push_double(lg_json *array, double value);
lego_status lg_json_push_object(lg_json **out, lg_json *array);
lego_status lg_json_push_array(lg_json **out, lg_json *array);

#endif
