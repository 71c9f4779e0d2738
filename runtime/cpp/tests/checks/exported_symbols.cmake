# Nothing but deepvit_* leaves the library.
execute_process(COMMAND ${NM} --dynamic --defined-only --extern-only ${LIBRARY} OUTPUT_VARIABLE symbols
  COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "[^ \n]+\n" names "${symbols}")
list(LENGTH names count)
if(count LESS 9)
  message(FATAL_ERROR "only ${count} symbols are exported: ${symbols}")
endif()
foreach(name IN LISTS names)
  string(STRIP "${name}" name)
  if(NOT name MATCHES "^deepvit_")
    message(FATAL_ERROR "${name} is exported")
  endif()
endforeach()
