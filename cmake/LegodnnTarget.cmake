# Private compile settings of everything that is ours.
function(lg_private_flags target)
  target_compile_definitions(${target} PRIVATE _GNU_SOURCE)
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:C>:-Wall -Wextra -Wpedantic -Wshadow -Wvla
      -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wwrite-strings -Wno-unused-parameter>
      $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra>)
  if(LEGODNN_SANITIZE)
    target_compile_options(${target} PRIVATE -fsanitize=${LEGODNN_SANITIZE} -fno-omit-frame-pointer -g)
    target_link_options(${target} PRIVATE -fsanitize=${LEGODNN_SANITIZE})
  endif()
endfunction()
