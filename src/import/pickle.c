/* A pickle is a program for a stack machine; Python's own reader can be made to call anything. This one has no way to
 * call: a global must stand in the caller's table, and calling it only writes down who was called with what.
 *
 * Opcodes: Python's Lib/pickletools.py describes them. What torch.save emits for dictionaries, tuples, lists, numbers,
 * text, globals and persistent ids is read, in every protocol from 2 on; the rest is refused by name. Three things keep
 * memory within a constant factor of the input: each opcode makes at most one value, lists move from the stack instead of
 * being copied, and memo slots must be taken in order. There is no recursion, so depth costs nothing here. */
#include "import/pickle.h"

#include <string.h>

#include "base/alloc.h"

#define MAX_PROTOCOL 5

typedef struct reader {
    const char *what;
    const unsigned char *data;
    size_t size, at;
    size_t start; /* of the opcode at work, for messages */
    const lg_pickle_global *globals;
    lg_pickle *pickle;
    lg_pickle_value **stack;
    size_t n_stack, stack_capacity;
    size_t *marks; /* heights of the stack */
    size_t n_marks, marks_capacity;
    lg_pickle_value **memo;
    size_t n_memo, memo_capacity;
} reader;

static lego_status damaged(const reader *r, const char *problem)
{
    return lg_error(LEGO_EFORMAT, "%s: damaged pickle: byte %zu: %s", r->what, r->start, problem);
}

/* --- bytes --- */

static lego_status take(const unsigned char **out, reader *r, uint64_t n)
{
    if (n > r->size - r->at)
        return damaged(r, "it ends in the middle");
    *out = r->data + r->at;
    r->at += (size_t)n;
    return LEGO_OK;
}

/* n <= 8 little-endian bytes. */
static lego_status take_number(uint64_t *out, reader *r, int n)
{
    const unsigned char *bytes = NULL;
    lego_status status = LEGO_OK;

    *out = 0;
    LG_TRY(take(&bytes, r, (uint64_t)n));
    for (int i = n - 1; i >= 0; i--)
        *out = *out << 8 | bytes[i];
done:
    return status;
}

static lego_status take_line(char **out, reader *r)
{
    const unsigned char *end = memchr(r->data + r->at, '\n', r->size - r->at);
    const unsigned char *begin = r->data + r->at;

    if (!end || memchr(begin, '\0', (size_t)(end - begin)))
        return damaged(r, "a name without an end");
    r->at += (size_t)(end - begin) + 1;
    *out = lg_strndup((const char *)begin, (size_t)(end - begin));
    return *out ? LEGO_OK : lg_error(LEGO_ENOMEM, "%s: out of memory", r->what);
}

/* --- values, stack, memo --- */

static lego_status push(reader *r, lg_pickle_value *value)
{
    lego_status status = LEGO_OK;

    LG_TRY(LG_RESERVE(&r->stack, &r->stack_capacity, r->n_stack + 1));
    r->stack[r->n_stack++] = value;
done:
    return status;
}

static lego_status new_value(lg_pickle_value **out, reader *r, lg_pickle_kind kind)
{
    lg_pickle_value *value = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&value, 1));
    value->kind = kind;
    value->next = r->pickle->values;
    r->pickle->values = value;
    *out = value;
done:
    return status;
}

static lego_status push_new(lg_pickle_value **out, reader *r, lg_pickle_kind kind)
{
    lego_status status = LEGO_OK;

    LG_TRY(new_value(out, r, kind));
    LG_TRY(push(r, *out));
done:
    return status;
}

static lego_status push_int(reader *r, lg_pickle_kind kind, int64_t integer)
{
    lg_pickle_value *value = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(push_new(&value, r, kind));
    value->integer = integer;
done:
    return status;
}

/* The lowest place of the stack that may be popped: above the newest mark. */
static size_t bottom(const reader *r)
{
    return r->n_marks > 0 ? r->marks[r->n_marks - 1] : 0;
}

static lego_status pop(lg_pickle_value **out, reader *r)
{
    if (r->n_stack <= bottom(r))
        return damaged(r, "the stack is empty");
    *out = r->stack[--r->n_stack];
    return LEGO_OK;
}

static lego_status top(lg_pickle_value **out, reader *r, lg_pickle_kind kind, const char *problem)
{
    if (r->n_stack <= bottom(r) || r->stack[r->n_stack - 1]->kind != kind)
        return damaged(r, problem);
    *out = r->stack[r->n_stack - 1];
    return LEGO_OK;
}

static lego_status pop_mark(size_t *height, reader *r)
{
    if (r->n_marks == 0)
        return damaged(r, "no mark on the stack");
    *height = r->marks[--r->n_marks];
    return LEGO_OK;
}

/* Move the stack from `height` upwards to the end of value's items. */
static lego_status move_items(reader *r, lg_pickle_value *value, size_t height)
{
    const size_t n = r->n_stack - height;
    lego_status status = LEGO_OK;

    if (n > 0) {
        LG_TRY(LG_RESERVE(&value->items, &value->capacity, value->n_items + n));
        memcpy(value->items + value->n_items, r->stack + height, n * sizeof(*value->items));
    }
    value->n_items += n;
    r->n_stack = height;
done:
    return status;
}

static lego_status memo_put(reader *r, uint64_t slot)
{
    lego_status status = LEGO_OK;

    if (r->n_stack <= bottom(r))
        return damaged(r, "nothing to remember");
    if (slot > r->n_memo)
        return damaged(r, "memo slots out of order");
    if (slot == r->n_memo) {
        LG_TRY(LG_RESERVE(&r->memo, &r->memo_capacity, r->n_memo + 1));
        r->n_memo++;
    }
    r->memo[slot] = r->stack[r->n_stack - 1];
done:
    return status;
}

static lego_status memo_get(reader *r, uint64_t slot)
{
    if (slot >= r->n_memo)
        return damaged(r, "a memo slot that is empty");
    return push(r, r->memo[slot]);
}

/* --- opcodes --- */

static int is_utf8(const unsigned char *text, size_t n)
{
    for (size_t i = 0; i < n;) {
        const unsigned char c = text[i];
        const size_t more = c < 0x80 ? 0 : c >= 0xc2 && c < 0xe0 ? 1 : c >= 0xe0 && c < 0xf0 ? 2
                                       : c >= 0xf0 && c < 0xf5   ? 3 : n;

        if (c == 0 || more >= n - i)
            return 0;
        for (size_t k = 1; k <= more; k++)
            if ((text[i + k] & 0xc0) != 0x80)
                return 0;
        i += more + 1;
    }
    return 1;
}

static lego_status push_text(reader *r, int length_bytes)
{
    lg_pickle_value *value = NULL;
    const unsigned char *bytes = NULL;
    uint64_t length = 0;
    lego_status status = LEGO_OK;

    LG_TRY(take_number(&length, r, length_bytes));
    LG_TRY(take(&bytes, r, length));
    if (!is_utf8(bytes, (size_t)length))
        LG_FAIL(LEGO_EFORMAT, "%s: damaged pickle: byte %zu: text that is not UTF-8", r->what, r->start);
    LG_TRY(push_new(&value, r, LG_PICKLE_TEXT));
    value->text = lg_strndup((const char *)bytes, (size_t)length);
    if (!value->text)
        LG_FAIL(LEGO_ENOMEM, "%s: out of memory", r->what);
done:
    return status;
}

/* A little-endian two's complement number of a length that is given. */
static lego_status push_long(reader *r)
{
    const unsigned char *bytes = NULL;
    uint64_t length = 0, bits = 0;
    lego_status status = LEGO_OK;

    LG_TRY(take_number(&length, r, 1));
    if (length > 8)
        LG_FAIL(LEGO_EUNSUPPORTED, "%s: its pickle holds an integer of %d bytes; up to 8 are read", r->what,
                (int)length);
    LG_TRY(take(&bytes, r, length));
    if (length > 0 && bytes[length - 1] >= 0x80)
        bits = UINT64_MAX;
    for (size_t i = (size_t)length; i-- > 0;)
        bits = bits << 8 | bytes[i];
    LG_TRY(push_int(r, LG_PICKLE_INT, (int64_t)bits));
done:
    return status;
}

static lego_status push_float(reader *r)
{
    lg_pickle_value *value = NULL;
    const unsigned char *bytes = NULL;
    uint64_t bits = 0;
    lego_status status = LEGO_OK;

    LG_TRY(take(&bytes, r, 8));
    for (int i = 0; i < 8; i++) /* the one big-endian number of pickles */
        bits = bits << 8 | bytes[i];
    LG_TRY(push_new(&value, r, LG_PICKLE_FLOAT));
    memcpy(&value->number, &bits, sizeof(bits));
done:
    return status;
}

static lego_status push_tuple(reader *r, size_t n)
{
    lg_pickle_value *value = NULL;
    lego_status status = LEGO_OK;

    if (r->n_stack - bottom(r) < n)
        return damaged(r, "the stack is empty");
    LG_TRY(new_value(&value, r, LG_PICKLE_TUPLE));
    LG_TRY(move_items(r, value, r->n_stack - n));
    LG_TRY(push(r, value));
done:
    return status;
}

static lego_status push_marked_tuple(reader *r)
{
    size_t height = 0;
    lego_status status = LEGO_OK;

    LG_TRY(pop_mark(&height, r));
    LG_TRY(push_tuple(r, r->n_stack - height));
done:
    return status;
}

/* Everything above the newest mark goes into the list or dictionary below it. */
static lego_status fill(reader *r, lg_pickle_kind kind)
{
    lg_pickle_value *target;
    size_t height = 0;
    lego_status status = LEGO_OK;

    LG_TRY(pop_mark(&height, r));
    if (height <= bottom(r) || r->stack[height - 1]->kind != kind)
        return damaged(r, kind == LG_PICKLE_DICT ? "items for what is no dictionary" : "items for what is no list");
    target = r->stack[height - 1];
    if (kind == LG_PICKLE_DICT && (r->n_stack - height) % 2 != 0)
        return damaged(r, "a key without a value");
    LG_TRY(move_items(r, target, height));
done:
    return status;
}

/* The topmost n values go into the list or dictionary below them. */
static lego_status fill_one(reader *r, lg_pickle_kind kind, size_t n)
{
    if (r->n_stack - bottom(r) < n + 1 || r->stack[r->n_stack - n - 1]->kind != kind)
        return damaged(r, kind == LG_PICKLE_DICT ? "items for what is no dictionary" : "items for what is no list");
    return move_items(r, r->stack[r->n_stack - n - 1], r->n_stack - n);
}

static const lg_pickle_global *find_global(const reader *r, const char *module, const char *name)
{
    const size_t length = strlen(module);
    const lg_pickle_global *global = r->globals;

    while (global->name && (strncmp(global->name, module, length) != 0 || global->name[length] != '.' ||
                            strcmp(global->name + length + 1, name) != 0))
        global++;
    return global->name ? global : NULL;
}

static lego_status push_global(reader *r, const char *module, const char *name)
{
    const lg_pickle_global *global = find_global(r, module, name);
    lg_pickle_value *value = NULL;
    lego_status status = LEGO_OK;

    if (!global)
        return lg_error(LEGO_EUNSUPPORTED, "%s: its pickle names '%.100s.%.100s', which tensors in dictionaries do not "
                        "need; nothing else is read, and nothing is ever called. Save the weights alone: "
                        "torch.save(model.state_dict(), FILE)", r->what, module, name);
    LG_TRY(push_new(&value, r, LG_PICKLE_GLOBAL));
    value->global = global;
done:
    return status;
}

static lego_status read_global(reader *r)
{
    char *module = NULL, *name = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(take_line(&module, r));
    LG_TRY(take_line(&name, r));
    LG_TRY(push_global(r, module, name));
done:
    lg_free(module);
    lg_free(name);
    return status;
}

static lego_status stack_global(reader *r)
{
    lg_pickle_value *module = NULL, *name = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(pop(&name, r));
    LG_TRY(pop(&module, r));
    if (name->kind != LG_PICKLE_TEXT || module->kind != LG_PICKLE_TEXT)
        return damaged(r, "a global's name that is no text");
    LG_TRY(push_global(r, module->text, name->text));
done:
    return status;
}

/* (function, arguments) -> what the function's role says. */
static lego_status reduce(reader *r)
{
    lg_pickle_value *arguments = NULL, *function = NULL, *value = NULL;
    const lg_pickle_global *global;
    size_t n;
    lego_status status = LEGO_OK;

    LG_TRY(pop(&arguments, r));
    LG_TRY(pop(&function, r));
    if (function->kind != LG_PICKLE_GLOBAL || arguments->kind != LG_PICKLE_TUPLE)
        return damaged(r, "a call of what is no function");
    global = function->global;
    n = arguments->n_items;
    if (global->role == LG_PICKLE_ROLE_CALL) {
        LG_TRY(push_new(&value, r, LG_PICKLE_CALL));
        value->global = global;
        /* the arguments are the tuple's, which may stand in the memo: shared, never changed */
        LG_TRY(LG_RESERVE(&value->items, &value->capacity, 1));
        value->items[0] = arguments;
        value->n_items = 1;
    } else if (global->role == LG_PICKLE_ROLE_DICT && n == 0) {
        LG_TRY(push_new(&value, r, LG_PICKLE_DICT));
    } else if ((global->role == LG_PICKLE_ROLE_DICT && n == 1 && arguments->items[0]->kind == LG_PICKLE_DICT) ||
               (global->role == LG_PICKLE_ROLE_SAME && n >= 1)) {
        LG_TRY(push(r, arguments->items[0]));
    } else {
        LG_FAIL(LEGO_EUNSUPPORTED, "%s: its pickle calls %s with %zu arguments", r->what, global->name, n);
    }
done:
    return status;
}

/* (object, state) -> object. torch hangs "_metadata", the versions of its modules, on a state dict, and once hung whether it
 * wants a gradient on a parameter: not needed. */
static lego_status build(reader *r)
{
    lg_pickle_value *state = NULL, *object = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(pop(&state, r));
    if (r->n_stack > bottom(r) && r->stack[r->n_stack - 1]->kind == LG_PICKLE_CALL)
        return LEGO_OK;
    LG_TRY(top(&object, r, LG_PICKLE_DICT, "attributes for what is no dictionary"));
done:
    return status;
}

static lego_status persistent(reader *r)
{
    lg_pickle_value *value = NULL;
    lego_status status = LEGO_OK;

    if (r->n_stack <= bottom(r))
        return damaged(r, "the stack is empty");
    LG_TRY(new_value(&value, r, LG_PICKLE_PERSISTENT));
    LG_TRY(move_items(r, value, r->n_stack - 1));
    LG_TRY(push(r, value));
done:
    return status;
}

static lego_status push_mark(reader *r)
{
    lego_status status = LEGO_OK;

    LG_TRY(LG_RESERVE(&r->marks, &r->marks_capacity, r->n_marks + 1));
    r->marks[r->n_marks++] = r->n_stack;
done:
    return status;
}

/* Opcodes that carry a number of 1 to 8 bytes. */
static lego_status step_number(reader *r, unsigned char opcode)
{
    uint64_t n = 0;
    const int bytes = opcode == 'M' ? 2 : opcode == 'J' || opcode == 'r' || opcode == 'j' ? 4 : opcode == 0x95 ? 8 : 1;
    lego_status status = LEGO_OK;

    LG_TRY(take_number(&n, r, bytes));
    switch (opcode) {
    case 'K': /* BININT1 */
    case 'M': /* BININT2 */
        return push_int(r, LG_PICKLE_INT, (int64_t)n);
    case 'J': /* BININT */
        return push_int(r, LG_PICKLE_INT, (int32_t)(uint32_t)n);
    case 'q': /* BINPUT */
    case 'r': /* LONG_BINPUT */
        return memo_put(r, n);
    case 'h': /* BINGET */
    case 'j': /* LONG_BINGET */
        return memo_get(r, n);
    case 0x95: /* FRAME: a hint for buffering */
        return n <= r->size - r->at ? LEGO_OK : damaged(r, "it ends in the middle");
    default: /* PROTO */
        return n <= MAX_PROTOCOL
                   ? LEGO_OK
                   : lg_error(LEGO_EUNSUPPORTED, "%s: pickle protocol %d, known are up to %d", r->what, (int)n,
                              MAX_PROTOCOL);
    }
done:
    return status;
}

static lego_status step(reader *r, unsigned char opcode)
{
    lg_pickle_value *value = NULL;

    switch (opcode) {
    case 0x80: /* PROTO */
    case 0x95: /* FRAME */
    case 'K': case 'M': case 'J': case 'q': case 'r': case 'h': case 'j':
        return step_number(r, opcode);
    case 0x8a: /* LONG1 */
        return push_long(r);
    case 'G': /* BINFLOAT */
        return push_float(r);
    case 'N': /* NONE */
        return push_new(&value, r, LG_PICKLE_NONE);
    case 0x88: /* NEWTRUE */
    case 0x89: /* NEWFALSE */
        return push_int(r, LG_PICKLE_BOOL, opcode == 0x88);
    case 'X': /* BINUNICODE */
    case 'T': /* BINSTRING, of Python 2 */
        return push_text(r, 4);
    case 'U': /* SHORT_BINSTRING, of Python 2 */
    case 0x8c: /* SHORT_BINUNICODE */
        return push_text(r, 1);
    case 0x94: /* MEMOIZE */
        return memo_put(r, r->n_memo);
    case '(': /* MARK */
        return push_mark(r);
    case ')': /* EMPTY_TUPLE */
        return push_tuple(r, 0);
    case 0x85: case 0x86: case 0x87: /* TUPLE1, TUPLE2, TUPLE3 */
        return push_tuple(r, (size_t)(opcode - 0x84));
    case 't': /* TUPLE */
        return push_marked_tuple(r);
    case ']': /* EMPTY_LIST */
        return push_new(&value, r, LG_PICKLE_LIST);
    case '}': /* EMPTY_DICT */
        return push_new(&value, r, LG_PICKLE_DICT);
    case 'a': /* APPEND */
        return fill_one(r, LG_PICKLE_LIST, 1);
    case 'e': /* APPENDS */
        return fill(r, LG_PICKLE_LIST);
    case 's': /* SETITEM */
        return fill_one(r, LG_PICKLE_DICT, 2);
    case 'u': /* SETITEMS */
        return fill(r, LG_PICKLE_DICT);
    case 'c': /* GLOBAL */
        return read_global(r);
    case 0x93: /* STACK_GLOBAL */
        return stack_global(r);
    case 'R': /* REDUCE */
        return reduce(r);
    case 'b': /* BUILD */
        return build(r);
    case 'Q': /* BINPERSID */
        return persistent(r);
    default:
        return lg_error(LEGO_EUNSUPPORTED, "%s: pickle opcode 0x%02x at byte %zu is none that torch.save writes for "
                        "tensors in dictionaries", r->what, opcode, r->start);
    }
}

static lego_status run(reader *r)
{
    const unsigned char *opcode = NULL;
    lego_status status = LEGO_OK;

    for (;;) {
        r->start = r->at;
        LG_TRY(take(&opcode, r, 1));
        if (*opcode == '.') /* STOP */
            break;
        LG_TRY(step(r, *opcode));
    }
    if (r->n_stack != 1 || r->n_marks != 0)
        return damaged(r, "it stops before it is done");
    r->pickle->root = r->stack[0];
done:
    return status;
}

lego_status lg_pickle_read(lg_pickle **out, size_t *used, const void *data, size_t size,
                           const lg_pickle_global *globals, const char *what)
{
    reader r = { .what = what, .data = data, .size = size, .globals = globals };
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(LG_CALLOC(&r.pickle, 1));
    LG_TRY(run(&r));
    if (used)
        *used = r.at;
    *out = r.pickle;
    r.pickle = NULL;
done:
    lg_pickle_free(r.pickle);
    lg_free(r.stack);
    lg_free(r.marks);
    lg_free(r.memo);
    return status;
}

void lg_pickle_free(lg_pickle *pickle)
{
    if (!pickle)
        return;
    for (lg_pickle_value *value = pickle->values, *next; value; value = next) {
        next = value->next;
        if (value->kind == LG_PICKLE_TEXT)
            lg_free(value->text);
        lg_free(value->items);
        lg_free(value);
    }
    lg_free(pickle);
}
