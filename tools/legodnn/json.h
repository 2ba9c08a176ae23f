/* Reading the library's JSON documents (stores, profiles, selections) to print them as text for people. */
#ifndef LEGODNN_CLI_JSON_H
#define LEGODNN_CLI_JSON_H

#include "cli.h"

typedef struct cJSON cli_json;

lego_status cli_json_parse(cli_json **out, cli_call *cli, const char *document); /* free with cli_json_free() */
void cli_json_free(cli_json *json);
/* A document of the library as the result: as it is with --json, else as text, which `print` makes of it. */
lego_status cli_json_show(cli_call *cli, const char *document, lego_status (*print)(cli_call *cli, const cli_json *json));

/* `path` names members from outside in, "predicted.latency_ms"; NULL or the fallback if one is absent or of another
 * type. Everything is borrowed from the document. */
const cli_json *cli_json_get(const cli_json *json, const char *path);
double cli_json_number(const cli_json *json, const char *path, double fallback);
const char *cli_json_text(const cli_json *json, const char *path, const char *fallback);

int cli_json_length(const cli_json *array); /* 0 for NULL */
const cli_json *cli_json_first(const cli_json *container);
const cli_json *cli_json_next(const cli_json *item);
#define cli_json_each(item, container)                                        \
    for (const cli_json *item = cli_json_first(container); item; item = cli_json_next(item))
const char *cli_json_key(const cli_json *item);     /* of an object's member */
double cli_json_value(const cli_json *item);        /* of a number, NaN of anything else */
const char *cli_json_string(const cli_json *item);  /* of a string, "" of anything else */

#endif
