# One small container: no compiler, no root, nothing fetched at run time.
FROM python:3.12-slim

ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    OPENBLAS_NUM_THREADS=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

RUN useradd --create-home --uid 1000 quire
WORKDIR /app

COPY requirements.txt .
# Compiled here: a start without bytecode takes several times as long.
RUN pip install -r requirements.txt && python -m compileall -q /usr/local/lib/python3.12

COPY --chown=1000:1000 main.py ./
COPY --chown=1000:1000 handlers handlers
COPY --chown=1000:1000 lib lib
COPY --chown=1000:1000 book_content book_content
RUN python -m compileall -q main.py handlers lib \
    && mkdir qdrant_data && chown 1000:1000 /app qdrant_data

USER 1000
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ.get(\"API_PORT\", \"7860\")}/health', timeout=4)"]
CMD ["python", "main.py"]
