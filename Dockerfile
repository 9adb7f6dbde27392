# Palimpsest with compiled kernels, and Prefect: the image of all our services in docker-compose.yml.
#
#   docker build -t palimpsest . && docker run --rm palimpsest
FROM python:3.12.12-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY cli cli
COPY dedup dedup
COPY evidence evidence
COPY exports exports
COPY flows flows
COPY ingest ingest
COPY inspector inspector
COPY kernels kernels
COPY pipeline pipeline
COPY src src
COPY records records
COPY store store
# pip stays in this stage: the environment has none. Images keep times of files in whole seconds, and
# every container would compile a file again if its time were not that of its source.
RUN python -m venv --without-pip /opt/palimpsest \
    && pip --python /opt/palimpsest/bin/python install --no-cache-dir --no-compile -c constraints.txt . \
    && find /opt/palimpsest/lib -name '*.py' -exec touch -d @1767225600 {} + \
    && /opt/palimpsest/bin/python -m compileall -q /opt/palimpsest/lib
# Compiled for any processor of this architecture, not for the one that builds the image: on another
# processor every new container would compile the kernels again.
ENV NUMBA_CPU_NAME=generic NUMBA_CACHE_DIR=/opt/kernels
RUN /opt/palimpsest/bin/palimpsest compile

FROM python:3.12.12-slim-bookworm
RUN useradd --create-home --uid 1000 archivist \
    && mkdir -p /archive /articles /state && chown archivist /archive /state
COPY --from=build /opt/palimpsest /opt/palimpsest
COPY --from=build --chown=archivist /opt/kernels /opt/kernels
COPY prefect.yaml /srv/palimpsest/
ENV PATH=/opt/palimpsest/bin:$PATH \
    PALIMPSEST_STATE=/state \
    NUMBA_CPU_NAME=generic \
    NUMBA_CACHE_DIR=/opt/kernels \
    PYTHONUNBUFFERED=1
USER archivist
WORKDIR /srv/palimpsest
ENTRYPOINT ["palimpsest"]
CMD ["--help"]
