# deepvit-classify names classes as the artifact does, else as --labels says, else by their numbers.
function(classify artifact pattern)
  execute_process(COMMAND ${CLASSIFY} --onnxruntime ${ONNXRUNTIME} --top 10 ${ARGN} ${ARTIFACTS}/${artifact} ${IMAGE}
    OUTPUT_VARIABLE said COMMAND_ERROR_IS_FATAL ANY)
  if(NOT said MATCHES "${pattern}")
    message(FATAL_ERROR "${artifact} ${ARGN}: expected ${pattern}, got ${said}")
  endif()
endfunction()

set(labels ${FOLDER}/labels.txt)
file(WRITE ${labels} "a0\na1\na2\na3\na4\na5\na6\na7\na8\na9\n")
classify(named "%  3  中国\n")
classify(named "\"name\":\"wood rabbit, cottontail\"" --json)
classify(named "%  3  a3\n" --labels ${labels})
classify(small "%  3\n")
classify(small "\"classes\":\\[{\"class\":[0-9],\"probability\"" --json)
classify(small "\"name\":\"a3\"" --json --labels ${labels})
