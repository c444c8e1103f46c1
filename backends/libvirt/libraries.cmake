# The libraries of libvirt.so that have the most symbols to bind, as this machine names them, for descriptor.c (`first`). Empty where
# ldd cannot tell (a build for another machine): then they are loaded with libvirt, only a little later.
find_program(LDD ldd)
set(VMCTL_LIBVIRT_FIRST "")
if(LDD)
  find_library(LIBVIRT_FILE NAMES virt HINTS ${LIBVIRT_LIBRARY_DIRS} ${LIBVIRT_LIBDIR})
  execute_process(COMMAND ${LDD} ${LIBVIRT_FILE} OUTPUT_VARIABLE libraries ERROR_QUIET)
  foreach(name "libcrypto" "libstdc[+][+]" "libgnutls" "libgio-2[.]0")
    if(libraries MATCHES "(${name}[.]so[.][0-9.]+) =>")
      string(APPEND VMCTL_LIBVIRT_FIRST "\"${CMAKE_MATCH_1}\",")
    endif()
  endforeach()
endif()
set_source_files_properties(${CMAKE_CURRENT_LIST_DIR}/descriptor.c PROPERTIES
                            COMPILE_DEFINITIONS "VMCTL_LIBVIRT_FIRST=${VMCTL_LIBVIRT_FIRST}")
