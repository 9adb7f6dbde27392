# Builds Palimpsest with its kernels compiled; runs as a user without rights.
FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY cli cli
COPY dedup dedup
COPY flows flows
COPY ingest ingest
COPY inspector inspector
COPY records records
COPY store store
RUN python -m venv /opt/palimpsest \
    && /opt/palimpsest/bin/pip install --no-cache-dir -c constraints.txt .

FROM python:3.12-slim
COPY --from=build /opt/palimpsest /opt/palimpsest
RUN useradd --create-home archivist && mkdir -p /archive /state && chown archivist /archive /state
USER archivist
ENV PATH=/opt/palimpsest/bin:$PATH PALIMPSEST_STATE=/state NUMBA_CACHE_DIR=/home/archivist/kernels
RUN palimpsest compile
ENTRYPOINT ["palimpsest"]
CMD ["--help"]
