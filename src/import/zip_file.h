/* Zip archives, read with care: the only user of libzip. */
#ifndef LG_IMPORT_ZIP_FILE_H
#define LG_IMPORT_ZIP_FILE_H

#include "base/buffer.h"

typedef struct lg_zip lg_zip;

/* Every entry has a relative name of its own, and all of them together hold no more bytes than the file. Free with
 * lg_zip_close(). */
lego_status lg_zip_open(lg_zip **out, const char *path);
void lg_zip_close(lg_zip *zip);

int32_t lg_zip_n_entries(const lg_zip *zip);
const char *lg_zip_name(const lg_zip *zip, int32_t entry);
uint64_t lg_zip_size(const lg_zip *zip, int32_t entry); /* bytes, unpacked */
int lg_zip_is_plain(const lg_zip *zip, int32_t entry); /* neither compressed nor encrypted */
int32_t lg_zip_find(const lg_zip *zip, const char *name); /* LG_NONE if absent */
/* The bytes of an entry that is stored uncompressed, checksum verified; a compressed or encrypted one is refused, so no
 * archive can be a bomb. Free with lg_buffer_unref(). */
lego_status lg_zip_read(lg_buffer **out, lg_zip *zip, int32_t entry);

/* Read the entry to its end, unpacking it, and compare its size and checksum: for archives that others will read. */
lego_status lg_zip_check(lg_zip *zip, int32_t entry);

#endif
