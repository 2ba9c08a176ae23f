/* What the library was built with, for `legodnn --version` and bug reports. CMake knows it; asking the libraries
 * themselves would load them. */
#include "build_info.h"
#include "legodnn/status.h"

const char *lego_build_info(void)
{
    return LG_BUILD_INFO;
}
