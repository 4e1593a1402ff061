# Build: wheels are made and installed here, so that no compiler is in the final image.
FROM python:3.11-slim-bookworm AS build
WORKDIR /build
COPY requirements.lock .
RUN python -m venv /opt/mktx \
 && /opt/mktx/bin/pip install --no-cache-dir --require-hashes -r requirements.lock

FROM python:3.11-slim-bookworm
# The embedded MongoDB needs these two; with MKTX_MONGODB_URI set it is not started.
RUN apt-get update \
 && apt-get install --no-install-recommends --yes libcurl4 libssl3 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 10001 mktx \
 && install -d -o mktx -g mktx /data
COPY --from=build /opt/mktx /opt/mktx
WORKDIR /app
COPY run.py ./
COPY config config
COPY domain domain
COPY storage storage
COPY actors actors
COPY gateway gateway
COPY sandbox sandbox
COPY program program
ENV PATH=/opt/mktx/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MKTX_HOST=0.0.0.0 \
    MKTX_DATA_DIR=/data
USER mktx
VOLUME /data
EXPOSE 5000
# Ray keeps its object store in shared memory: run with --shm-size=256m or more.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=180s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f\"http://127.0.0.1:{os.environ.get('MKTX_PORT', '5000')}/health/ready\", timeout=4)"]
ENTRYPOINT ["python", "run.py"]
CMD ["serve"]
