/* The library hands its documents out as JSON text; where the command prints them for people it reads that text back
 * like any other program would. The only user of cJSON among the tools. */
#include "json.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <string.h>

lego_status cli_json_parse(cli_json **out, cli_call *cli, const char *document)
{
    *out = cJSON_Parse(document);
    return *out ? LEGO_OK : cli_fail(cli, "the library's document cannot be read; is memory short?");
}

void cli_json_free(cli_json *json)
{
    cJSON_Delete(json);
}

lego_status cli_json_show(cli_call *cli, const char *document, lego_status (*print)(cli_call *cli, const cli_json *json))
{
    cli_json *json = NULL;
    lego_status status = LEGO_OK;

    if (cli->json) {
        cli_print_document(cli, document);
        return LEGO_OK;
    }
    CLI_TRY(cli_json_parse(&json, cli, document));
    CLI_TRY(print(cli, json));
done:
    cli_json_free(json);
    return status;
}

const cli_json *cli_json_get(const cli_json *json, const char *path)
{
    while (json && *path) {
        char name[64];
        const size_t length = strcspn(path, ".");
        (void)snprintf(name, sizeof(name), "%.*s", (int)length, path);
        json = cJSON_GetObjectItemCaseSensitive(json, name);
        path += length;
        path += *path == '.';
    }
    return json;
}

double cli_json_number(const cli_json *json, const char *path, double fallback)
{
    const cli_json *item = cli_json_get(json, path);

    return cJSON_IsNumber(item) ? item->valuedouble : fallback;
}

const char *cli_json_text(const cli_json *json, const char *path, const char *fallback)
{
    const cli_json *item = cli_json_get(json, path);

    return cJSON_IsString(item) ? item->valuestring : fallback;
}

int cli_json_length(const cli_json *array)
{
    return array ? cJSON_GetArraySize(array) : 0;
}

const cli_json *cli_json_first(const cli_json *container)
{
    return container ? container->child : NULL;
}

const cli_json *cli_json_next(const cli_json *item)
{
    return item->next;
}

const char *cli_json_key(const cli_json *item)
{
    return item->string ? item->string : "";
}

double cli_json_value(const cli_json *item)
{
    return cJSON_IsNumber(item) ? item->valuedouble : (double)NAN;
}

const char *cli_json_string(const cli_json *item)
{
    return cJSON_IsString(item) ? item->valuestring : "";
}
