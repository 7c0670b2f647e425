# docker run -e HOLDFAST_SENTINELS=sentinel:26379 -e HOLDFAST_MASTER=mymaster -p 6379:6379 holdfast
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=unknown
ARG COMMIT=unknown
RUN make build VERSION="$VERSION" COMMIT="$COMMIT"

# Nothing but the program: it is static, writes no file and starts no process.
# Virtual addresses (vip) belong to the host's network and take capabilities, which
# Docker gives to root only: docker run --network host --user 0 --cap-drop ALL
# --cap-add NET_ADMIN --cap-add NET_RAW --cap-add SYS_NICE
FROM scratch
COPY --from=build /src/bin/holdfast /holdfast
USER 65532:65532
EXPOSE 6379 9121
# Asks /healthz of HOLDFAST_HEALTH, or of the default address.
HEALTHCHECK --interval=10s --timeout=6s --start-period=5s CMD ["/holdfast", "health"]
ENTRYPOINT ["/holdfast"]
CMD ["run"]
