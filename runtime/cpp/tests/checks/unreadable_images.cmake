# What is no image file is that image's failure: a line, exit code 2, and the others are answered.
set(pipe ${FOLDER}/pipe)
file(REMOVE ${pipe})
execute_process(COMMAND mkfifo ${pipe} COMMAND_ERROR_IS_FATAL ANY)
foreach(path ${FOLDER} ${pipe} /dev/zero /dev/null ${FOLDER}/nowhere.jpg)
  execute_process(COMMAND ${CLASSIFY} --onnxruntime ${ONNXRUNTIME} ${ARTIFACT} ${path} ${IMAGE}
    OUTPUT_VARIABLE answers ERROR_VARIABLE complaint RESULT_VARIABLE code TIMEOUT 60)
  if(NOT code EQUAL 2 OR NOT complaint MATCHES "^error: ${path} cannot be read[^\n]*\n$" OR NOT answers MATCHES "dark.png")
    message(FATAL_ERROR "${path}: exit code ${code}, expected 2 and one line, got: ${complaint}${answers}")
  endif()
endforeach()
file(REMOVE ${pipe})
