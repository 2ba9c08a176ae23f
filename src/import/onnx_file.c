/* Bytes -> protobuf: the first step of the import. protobuf-c does the work; two things it leaves to us:
 *
 *   depth    it unpacks messages inside messages by recursion, so a file that nests thousands of graphs would exhaust
 *            the stack. The nesting is measured on the bytes first.
 *   memory   it asks an allocator, here ours, and does not say whether memory or the file was at fault. */
#include "import/onnx.h"

#include "base/alloc.h"

#define MAX_DEPTH 64 /* real files: below 10 */

/* A varint of at most 10 bytes; returns the byte behind it, NULL if there is none. */
static const uint8_t *read_varint(uint64_t *out, const uint8_t *at, const uint8_t *end)
{
    *out = 0;
    for (int shift = 0; at < end && shift < 70; shift += 7, at++) {
        if (shift < 64)
            *out |= (uint64_t)(*at & 0x7f) << shift;
        if (!(*at & 0x80))
            return at + 1;
    }
    return NULL;
}

/* Fields are (number << 3 | wire type), then a varint (0), 8 bytes (1), a length and bytes (2) or 4 bytes (5). */
static int is_shallow(const ProtobufCMessageDescriptor *type, const uint8_t *at, const uint8_t *end, int depth)
{
    while (at < end) {
        const ProtobufCFieldDescriptor *field;
        uint64_t tag, length;

        at = read_varint(&tag, at, end);
        if (!at || tag >> 3 > UINT32_MAX)
            return 0;
        switch (tag & 7) {
        case 0:
            at = read_varint(&length, at, end);
            length = 0;
            break;
        case 1:
            length = 8;
            break;
        case 2:
            at = read_varint(&length, at, end);
            break;
        case 5:
            length = 4;
            break;
        default:
            return 0;
        }
        if (!at || length > (uint64_t)(end - at))
            return 0;
        field = protobuf_c_message_descriptor_get_field(type, (unsigned)(tag >> 3));
        if ((tag & 7) == 2 && field && field->type == PROTOBUF_C_TYPE_MESSAGE &&
            (depth == MAX_DEPTH || !is_shallow(field->descriptor, at, at + length, depth + 1)))
            return 0;
        at += length;
    }
    return 1;
}

static void *allocate(void *failed, size_t size)
{
    void *block = lg_calloc(size, 1);

    if (!block)
        *(int *)failed = 1;
    return block;
}

static void release(void *failed, void *block)
{
    lg_free(block);
}

lego_status lg_onnx_parse(Onnx__ModelProto **out, const void *data, size_t size, const char *what)
{
    int failed = 0;
    ProtobufCAllocator allocator = { allocate, release, &failed };

    *out = NULL;
    if (size == 0)
        return lg_error(LEGO_EFORMAT, "%s: the file is empty", what);
    if (!is_shallow(&onnx__model_proto__descriptor, data, (const uint8_t *)data + size, 0))
        return lg_error(LEGO_EFORMAT, "%s: no ONNX file, or a truncated one (or messages nested deeper than %d)", what,
                        MAX_DEPTH);
    *out = onnx__model_proto__unpack(&allocator, size, data);
    if (!*out && failed)
        return lg_error(LEGO_ENOMEM, "%s: out of memory", what);
    if (!*out)
        return lg_error(LEGO_EFORMAT, "%s: no ONNX file, or a damaged one", what);
    return LEGO_OK;
}

void lg_onnx_parse_free(Onnx__ModelProto *model)
{
    int failed = 0;
    ProtobufCAllocator allocator = { allocate, release, &failed };

    if (model)
        onnx__model_proto__free_unpacked(model, &allocator);
}

void lg_onnx_free_attributes(lg_onnx_proto *node)
{
    int failed = 0;
    ProtobufCAllocator allocator = { allocate, release, &failed };

    for (size_t i = 0; i < node->n_attribute; i++)
        onnx__attribute_proto__free_unpacked(node->attribute[i], &allocator);
    lg_free(node->attribute);
    node->attribute = NULL;
    node->n_attribute = 0;
}
