/* JSON through cJSON, the only file that knows it.
 *
 * Numbers are doubles: integers are exact up to 2^53, which the readers check. Print failures and out-of-memory while
 * building come back as LEGO_ENOMEM. */
#include "base/json.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"

#define MAX_DOCUMENT_BYTES ((size_t)256 << 20)
#define MAX_EXACT 9007199254740992.0 /* 2^53 */

static lego_status no_memory(void)
{
    return lg_error(LEGO_ENOMEM, "out of memory: a JSON document");
}

lego_status lg_json_parse(lg_json **out, const char *text, size_t length, const char *what)
{
    const char *end = NULL;
    cJSON *json = cJSON_ParseWithLengthOpts(text, length, &end, 0);

    *out = NULL;
    if (!json) {
        size_t at = end && end >= text ? (size_t)(end - text) : 0, line = 1;

        for (size_t i = 0; i < at && i < length; i++)
            line += text[i] == '\n';
        return lg_error(LEGO_EFORMAT, "%s: not valid JSON at byte %zu (line %zu)", what, at, line);
    }
    for (; end < text + length; end++)
        if (!strchr(" \t\r\n", *end)) { /* strchr matches the NUL padding too */
            cJSON_Delete(json);
            return lg_error(LEGO_EFORMAT, "%s: unexpected bytes after the JSON document at byte %zu", what,
                            (size_t)(end - text));
        }
    *out = json;
    return LEGO_OK;
}

lego_status lg_json_load(lg_json **out, const char *path)
{
    char *text = NULL;
    size_t length = 0;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(lg_file_read(&text, &length, path, MAX_DOCUMENT_BYTES));
    LG_TRY(lg_json_parse(out, text, length, path));
done:
    lg_free(text);
    return status;
}

lego_status lg_json_print(char **out, const lg_json *json, int pretty)
{
    char *text = pretty ? cJSON_Print(json) : cJSON_PrintUnformatted(json);

    *out = text ? lg_strdup(text) : NULL;
    cJSON_free(text);
    return *out ? LEGO_OK : no_memory();
}

lego_status lg_json_save(const lg_json *json, const char *path)
{
    char *text = NULL;
    lg_writer *writer = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_print(&text, json, 1));
    LG_TRY(lg_writer_open(&writer, path));
    LG_TRY(lg_writer_write(writer, text, strlen(text)));
    LG_TRY(lg_writer_write(writer, "\n", 1));
    status = lg_writer_commit(writer);
    writer = NULL;
done:
    lg_writer_abort(writer);
    lg_free(text);
    return status;
}

void lg_json_free(lg_json *json)
{
    cJSON_Delete(json);
}

/* --- reading --- */

static const char *kind_of(const lg_json *json)
{
    if (cJSON_IsString(json))
        return "a string";
    if (cJSON_IsNumber(json))
        return "a number";
    if (cJSON_IsBool(json))
        return "true or false";
    if (cJSON_IsArray(json))
        return "an array";
    if (cJSON_IsObject(json))
        return "an object";
    return "null";
}

static lego_status find(const lg_json **out, const lg_json *object, const char *key, const char *what)
{
    if (!cJSON_IsObject(object))
        return lg_error(LEGO_EFORMAT, "%s: expected an object, found %s", what, kind_of(object));
    *out = cJSON_GetObjectItemCaseSensitive(object, key);
    return *out ? LEGO_OK : lg_error(LEGO_EFORMAT, "%s: '%s' is missing", what, key);
}

static lego_status wrong_kind(const lg_json *item, const char *wanted, const char *what)
{
    return lg_error(LEGO_EFORMAT, "%s: '%s' must be %s, found %s", what, item->string ? item->string : "item", wanted,
                    kind_of(item));
}

int lg_json_has(const lg_json *object, const char *key)
{
    return cJSON_IsObject(object) && cJSON_GetObjectItemCaseSensitive(object, key) != NULL;
}

lego_status lg_json_string(const char **out, const lg_json *item, const char *what)
{
    if (!cJSON_IsString(item))
        return wrong_kind(item, "a string", what);
    *out = item->valuestring;
    return LEGO_OK;
}

lego_status lg_json_int(int64_t *out, const lg_json *item, int64_t min, int64_t max, const char *what)
{
    double value;

    if (!cJSON_IsNumber(item))
        return wrong_kind(item, "an integer", what);
    value = item->valuedouble;
    if (!(fabs(value) <= MAX_EXACT) || value != floor(value))
        return lg_error(LEGO_EFORMAT, "%s: '%s'=%g must be an integer", what, item->string ? item->string : "item",
                        value);
    if ((int64_t)value < min || (int64_t)value > max)
        return lg_error(LEGO_EFORMAT, "%s: '%s'=%lld is not in [%lld, %lld]", what,
                        item->string ? item->string : "item", (long long)value, (long long)min, (long long)max);
    *out = (int64_t)value;
    return LEGO_OK;
}

lego_status lg_json_double(double *out, const lg_json *item, const char *what)
{
    if (!cJSON_IsNumber(item))
        return wrong_kind(item, "a number", what);
    *out = item->valuedouble;
    return LEGO_OK;
}

lego_status lg_json_get_string(const char **out, const lg_json *object, const char *key, const char *what)
{
    const lg_json *item;
    lego_status status = find(&item, object, key, what);

    return status == LEGO_OK ? lg_json_string(out, item, what) : status;
}

lego_status lg_json_get_int(int64_t *out, const lg_json *object, const char *key, int64_t min, int64_t max,
                            const char *what)
{
    const lg_json *item;
    lego_status status = find(&item, object, key, what);

    return status == LEGO_OK ? lg_json_int(out, item, min, max, what) : status;
}

lego_status lg_json_get_double(double *out, const lg_json *object, const char *key, const char *what)
{
    const lg_json *item;
    lego_status status = find(&item, object, key, what);

    return status == LEGO_OK ? lg_json_double(out, item, what) : status;
}

lego_status lg_json_get_bool(int *out, const lg_json *object, const char *key, const char *what)
{
    const lg_json *item;
    lego_status status = find(&item, object, key, what);

    if (status != LEGO_OK)
        return status;
    if (!cJSON_IsBool(item))
        return wrong_kind(item, "true or false", what);
    *out = cJSON_IsTrue(item) ? 1 : 0;
    return LEGO_OK;
}

lego_status lg_json_get_object(const lg_json **out, const lg_json *object, const char *key, const char *what)
{
    lego_status status = find(out, object, key, what);

    if (status == LEGO_OK && !cJSON_IsObject(*out))
        return wrong_kind(*out, "an object", what);
    return status;
}

lego_status lg_json_get_array(const lg_json **out, const lg_json *object, const char *key, const char *what)
{
    lego_status status = find(out, object, key, what);

    if (status == LEGO_OK && !cJSON_IsArray(*out))
        return wrong_kind(*out, "an array", what);
    return status;
}

lego_status lg_json_get_string_or(const char **out, const lg_json *object, const char *key, const char *fallback,
                                  const char *what)
{
    *out = fallback;
    return lg_json_has(object, key) ? lg_json_get_string(out, object, key, what) : LEGO_OK;
}

lego_status lg_json_get_int_or(int64_t *out, const lg_json *object, const char *key, int64_t fallback, int64_t min,
                               int64_t max, const char *what)
{
    *out = fallback;
    return lg_json_has(object, key) ? lg_json_get_int(out, object, key, min, max, what) : LEGO_OK;
}

lego_status lg_json_get_double_or(double *out, const lg_json *object, const char *key, double fallback,
                                  const char *what)
{
    *out = fallback;
    return lg_json_has(object, key) ? lg_json_get_double(out, object, key, what) : LEGO_OK;
}

lego_status lg_json_get_bool_or(int *out, const lg_json *object, const char *key, int fallback, const char *what)
{
    *out = fallback;
    return lg_json_has(object, key) ? lg_json_get_bool(out, object, key, what) : LEGO_OK;
}

lego_status lg_json_check_schema(const lg_json *json, const char *schema, const char *what)
{
    const char *found = "";
    lego_status status = lg_json_get_string(&found, json, "schema", what);

    if (status != LEGO_OK)
        return status;
    if (strcmp(found, schema) != 0)
        return lg_error(LEGO_EFORMAT, "%s: schema '%s', expected '%s'", what, found, schema);
    return LEGO_OK;
}

size_t lg_json_length(const lg_json *array)
{
    size_t n = 0;

    lg_json_each(item, array)
        n++;
    return n;
}

const lg_json *lg_json_item(const lg_json *array, size_t i)
{
    lg_json_each(item, array)
        if (i-- == 0)
            return item;
    return NULL;
}

const lg_json *lg_json_first(const lg_json *container)
{
    return container ? container->child : NULL;
}

const lg_json *lg_json_next(const lg_json *item)
{
    return item->next;
}

const char *lg_json_key(const lg_json *item)
{
    return item->string;
}

int lg_json_is_object(const lg_json *json)
{
    return cJSON_IsObject(json);
}

int lg_json_is_array(const lg_json *json)
{
    return cJSON_IsArray(json);
}

int lg_json_is_string(const lg_json *json)
{
    return cJSON_IsString(json);
}

int lg_json_is_number(const lg_json *json)
{
    return cJSON_IsNumber(json);
}

lego_status lg_json_detach(lg_json **out, lg_json *object, const char *key)
{
    *out = cJSON_DetachItemFromObjectCaseSensitive(object, key);
    return LEGO_OK;
}

/* --- building --- */

/* Our allocator decides first, so that failure injection reaches JSON too. */
static int injected(void)
{
    void *probe = lg_calloc(1, 1);

    lg_free(probe);
    return probe == NULL;
}

lego_status lg_json_create_object(lg_json **out)
{
    *out = injected() ? NULL : cJSON_CreateObject();
    return *out ? LEGO_OK : no_memory();
}

lego_status lg_json_create_array(lg_json **out)
{
    *out = injected() ? NULL : cJSON_CreateArray();
    return *out ? LEGO_OK : no_memory();
}

static lego_status attach(lg_json *parent, const char *key, cJSON *item)
{
    cJSON_bool done = item && (key ? cJSON_AddItemToObject(parent, key, item) : cJSON_AddItemToArray(parent, item));

    if (done)
        return LEGO_OK;
    cJSON_Delete(item);
    return no_memory();
}

static cJSON *number(double value)
{
    return isfinite(value) ? cJSON_CreateNumber(value) : cJSON_CreateNull();
}

/* cJSON prints 15 digits of a number: larger integers go in as text, which reads back exactly up to 2^53. */
static cJSON *integer(int64_t value)
{
    char text[24];

    if (value > -1000000000000000 && value < 1000000000000000)
        return cJSON_CreateNumber((double)value);
    snprintf(text, sizeof(text), "%lld", (long long)value);
    return cJSON_CreateRaw(text);
}

lego_status lg_json_set_string(lg_json *object, const char *key, const char *value)
{
    return attach(object, key, injected() ? NULL : cJSON_CreateString(value));
}

lego_status lg_json_set_int(lg_json *object, const char *key, int64_t value)
{
    return attach(object, key, injected() ? NULL : integer(value));
}

lego_status lg_json_set_double(lg_json *object, const char *key, double value)
{
    return attach(object, key, injected() ? NULL : number(value));
}

lego_status lg_json_set_bool(lg_json *object, const char *key, int value)
{
    return attach(object, key, injected() ? NULL : cJSON_CreateBool(value != 0));
}

static lego_status attach_new(lg_json **out, lg_json *parent, const char *key, cJSON *item)
{
    lego_status status = attach(parent, key, item);

    *out = status == LEGO_OK ? item : NULL;
    return status;
}

lego_status lg_json_set_object(lg_json **out, lg_json *object, const char *key)
{
    return attach_new(out, object, key, injected() ? NULL : cJSON_CreateObject());
}

lego_status lg_json_set_array(lg_json **out, lg_json *object, const char *key)
{
    return attach_new(out, object, key, injected() ? NULL : cJSON_CreateArray());
}

lego_status lg_json_set_item(lg_json *object, const char *key, lg_json **value)
{
    if (injected() || !cJSON_AddItemToObject(object, key, *value))
        return no_memory();
    *value = NULL;
    return LEGO_OK;
}

lego_status lg_json_push_item(lg_json *array, lg_json **value)
{
    if (!cJSON_AddItemToArray(array, *value))
        return no_memory();
    *value = NULL;
    return LEGO_OK;
}

lego_status lg_json_push_string(lg_json *array, const char *value)
{
    return attach(array, NULL, injected() ? NULL : cJSON_CreateString(value));
}

lego_status lg_json_push_int(lg_json *array, int64_t value)
{
    return attach(array, NULL, injected() ? NULL : integer(value));
}

lego_status lg_json_push_double(lg_json *array, double value)
{
    return attach(array, NULL, injected() ? NULL : number(value));
}

lego_status lg_json_push_object(lg_json **out, lg_json *array)
{
    return attach_new(out, array, NULL, injected() ? NULL : cJSON_CreateObject());
}

lego_status lg_json_push_array(lg_json **out, lg_json *array)
{
    return attach_new(out, array, NULL, injected() ? NULL : cJSON_CreateArray());
}
