# Toolchain file: cross-compiles for 64-bit ARM on Debian, whose arm64 packages lie beside the machine's own (docs/devices.md).
# Tests run under qemu where it is installed.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(ENV{PKG_CONFIG_LIBDIR} /usr/lib/aarch64-linux-gnu/pkgconfig:/usr/share/pkgconfig)
find_program(LEGODNN_QEMU NAMES qemu-aarch64-static qemu-aarch64)
if(LEGODNN_QEMU)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${LEGODNN_QEMU})
endif()
