# Installs the package, builds the example against what was installed, and runs it.
set(prefix ${BUILD}/installed)
set(example ${BUILD}/consumer)
file(REMOVE_RECURSE ${prefix} ${example})
execute_process(COMMAND ${CMAKE_COMMAND} --install ${BUILD} --prefix ${prefix} OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CMAKE_COMMAND} -S ${EXAMPLE} -B ${example} -G ${GENERATOR} -DCMAKE_PREFIX_PATH=${prefix}
  OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CMAKE_COMMAND} --build ${example} COMMAND_ERROR_IS_FATAL ANY)
file(GLOB images ${IMAGES}/*.jpg)
list(GET images 0 image)
foreach(program consumer_c consumer_cpp)
  execute_process(COMMAND ${example}/${program} ${ARTIFACT} ${image} ${ONNXRUNTIME} OUTPUT_VARIABLE said
    COMMAND_ERROR_IS_FATAL ANY)
  if(NOT said MATCHES "class [0-9]+, (crane|wood rabbit|中国|é|five|six|seven|eight|nine)")
    message(FATAL_ERROR "${program} said: ${said}")
  endif()
  execute_process(COMMAND ${example}/${program} ${ARTIFACT}/none ${image} ${ONNXRUNTIME} RESULT_VARIABLE code
    ERROR_VARIABLE complaint)
  if(code EQUAL 0 OR NOT complaint MATCHES "does not exist")
    message(FATAL_ERROR "${program} did not refuse a missing artifact: ${complaint}")
  endif()
endforeach()
