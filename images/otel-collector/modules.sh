#!/bin/sh
# Copy the modules that changes/ alters to modules/, where go.mod looks for them. A folder with Go files in changes/
# replaces a package; a patch edits files of the module it is named after.
set -eu

# copy NAME MODULE: in the version that go.mod requires. Go verifies the download with its checksum database.
copy() {
  version=$(sed -n "s|^\t$2 \(v[^ ]*\).*|\1|p" go.mod)
  folder=$(cd / && go mod download -json "$2@$version" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
  cp -R "$folder" "modules/$1"
}

mkdir modules
copy jaeger github.com/jaegertracing/jaeger
copy otelconf go.opentelemetry.io/contrib/otelconf
copy prometheus github.com/prometheus/prometheus
chmod -R u+w modules
find changes -name '*.go' | while read -r file; do
  package=modules/$(dirname "${file#changes/}")
  rm "$package"/*.go
  cp "$file" "$package"
done
for patch in changes/*.patch; do
  (cd "modules/$(basename "$patch" .patch)" && git apply "../../$patch")
done
