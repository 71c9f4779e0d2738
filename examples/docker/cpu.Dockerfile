# An artifact and what runs it on a CPU, without PyTorch. Not built by us: there is no Docker daemon where this is made.
#
#   docker build --file examples/docker/cpu.Dockerfile --build-arg ARTIFACT=artifacts/digits_cnn-fp16 --tag deepvit-cpu .
#   docker run --rm --volume "$PWD:/images:ro" deepvit-cpu /images/photo.jpg
FROM python:3.11-slim

COPY . /source
RUN pip install --no-cache-dir --constraint /source/constraints.txt '/source[cpu]' \
    && cp -r /source/examples/python /client && useradd --create-home server
ARG ARTIFACT
COPY ${ARTIFACT} /artifact

USER server
ENTRYPOINT ["python", "/client/classify.py", "/artifact"]
