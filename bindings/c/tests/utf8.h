#include <stddef.h>

/* Whether a text consists of whole characters. */
static int is_whole_utf8(const char *text, size_t length)
{
    for (size_t at = 0; at < length;) {
        unsigned char lead = (unsigned char)text[at];
        size_t bytes = lead < 0x80 ? 1 : lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3 : lead >> 3 == 30 ? 4 : 0;
        if (bytes == 0 || at + bytes > length)
            return 0;
        for (size_t i = 1; i < bytes; i++)
            if (((unsigned char)text[at + i] & 0xC0) != 0x80)
                return 0;
        at += bytes;
    }
    return 1;
}
