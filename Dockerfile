# For those with a container engine:
#   docker build --target wsnode -t REGISTRY/wsnode .
#   docker build --target operator -t REGISTRY/wsfleet-operator .
# The local cluster does not use it: `make images` makes the same without an engine.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV UV_PROJECT_ENVIRONMENT=/opt/wsfleet UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /src
COPY pyproject.toml uv.lock README.md LICENSE ./

# Packages first: a changed line of code does not install them again.
FROM build AS build-wsnode
RUN uv sync --frozen --no-dev --no-install-project
COPY operator operator
COPY wsnode wsnode
RUN uv sync --frozen --no-dev --no-editable

FROM build AS build-operator
RUN uv sync --frozen --no-dev --extra operator --no-install-project
COPY operator operator
COPY wsnode wsnode
RUN uv sync --frozen --no-dev --extra operator --no-editable

FROM ${PYTHON_IMAGE} AS run
ENV PATH=/opt/wsfleet/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 1000:1000

FROM run AS wsnode
COPY --from=build-wsnode /opt/wsfleet /opt/wsfleet
CMD ["wsnode", "serve"]

FROM run AS operator
COPY --from=build-operator /opt/wsfleet /opt/wsfleet
CMD ["wsfleet", "operator"]
