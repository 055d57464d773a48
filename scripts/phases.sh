# The phases that quickstart.sh and test.sh share. Sourced, never run; works in the checkout ($root).
# shellcheck shell=bash disable=SC2154

# Free disk space in GiB to run the stack, and to pull or build its images as well.
MIN_DISK=2
DISK_FOR_IMAGES=10
# Recommended memory in GiB. Idle services use 1.1 (local images, measured) or 1.7 (published images, estimated); the
# rest is for load, the page cache and the compilers of local images. In production Kafka's heap may grow to 1,
# PostgreSQL to 4.
RECOMMENDED_MEMORY=4
RECOMMENDED_MEMORY_PROD=8
MIN_PYTHON=3.11
FINGERPRINT=.netmon/python
# Required changes outside the checkout, and the number of problems that preflight has found.
CHANGES=()
PROBLEMS=0

problem() {
  (die "$@") || PROBLEMS=$((PROBLEMS + 1))
}

# Print the path of a Python that is new enough and can create virtual environments (Debian packages ensurepip
# separately).
find_python() {
  local candidate check="import ensurepip, sys, venv; sys.exit(sys.version_info < (${MIN_PYTHON/./, }))"
  for candidate in python3 python3.{20..11} "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin/python3; do
    if "$candidate" -c "$check" >/dev/null 2>&1; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

check_system() {
  local free memory recommended=$RECOMMENDED_MEMORY
  [[ "${PROFILE:-dev}" != prod ]] || recommended=$RECOMMENDED_MEMORY_PROD
  [[ "$(uname -s)" == Linux ]] || problem "this script supports Linux only, not $(uname -s)" "see README.md, Requirements"
  [[ -w $root ]] || problem "account $(id -un) cannot write to $root" "change its owner: chown -R $(id -un) $root"
  free=$(df --output=avail -BG "$(docker_disk)" | tail -n 1 | tr -dc '0-9')
  if ((free < MIN_DISK)); then
    problem "$free GiB are free on the disk of $(docker_disk), $MIN_DISK GiB are needed" \
      "free some space (docker system df shows Docker's share)"
  elif ((free < DISK_FOR_IMAGES)); then
    warn "$free GiB are free on the disk of $(docker_disk); images may need $DISK_FOR_IMAGES GiB"
  fi
  memory=$(awk '/^MemTotal:/ { printf "%.0f", $2 / 1048576 }' /proc/meminfo)
  ((memory >= recommended)) || warn "this machine has $memory GiB of memory; $recommended GiB are recommended"
  info "$free GiB of disk free, $memory GiB of memory"
}

# Print the nearest existing parent of the engine's data folder.
docker_disk() {
  local folder
  folder=$(docker info --format '{{.DockerRootDir}}' 2>/dev/null) || folder=
  [[ -n "$folder" ]] || folder=${NETMON_ENGINE_DATA:-/var/lib}
  until [[ -d $folder ]]; do folder=$(dirname "$folder"); done
  echo "$folder"
}

check_engine() {
  local state=0
  "$here/engine.sh" status || state=$?
  case $state in
    0) ;;
    1) CHANGES+=("scripts/engine.sh install and scripts/engine.sh start, as described above") ;;
    *) PROBLEMS=$((PROBLEMS + 1)) ;;
  esac
}

check_python() {
  if PYTHON=$(find_python); then
    info "$("$PYTHON" --version) ($PYTHON)"
  elif command -v apt-get >/dev/null; then
    CHANGES+=("apt-get install python3-venv")
  else
    problem "no Python ≥ $MIN_PYTHON with the modules venv and ensurepip was found" "install one"
  fi
}

# The browser for the tests of the status page: Debian's chromium. (Ubuntu's package is a snap; Chrome works too.)
check_browser() {
  local snap
  if find_browser >/dev/null; then
    info "$(find_browser)"
  elif [[ "$(distribution)" == debian ]]; then
    CHANGES+=("apt-get install chromium, for the tests of the status page")
  elif snap=$(browsers | head -n 1) && [[ -n "$snap" ]]; then
    problem "$snap is a snap, confined to its own files: the tests of the status page cannot drive it" \
      "install Google Chrome, or a Chromium that is not a snap, beside it"
  else
    problem "no browser was found for the tests of the status page" "install Chromium or Chrome"
  fi
}

# shellcheck source=/dev/null
distribution() { (source /etc/os-release && echo "$ID") || true; }

find_browser() {
  local candidate
  while read -r candidate; do
    is_snap "$candidate" || {
      echo "$candidate"
      return
    }
  done < <(browsers)
  return 1
}

browsers() {
  local candidate
  for candidate in chromium google-chrome-stable google-chrome; do
    type -Pa "$candidate" || true
  done
}

# A program of a snap is a link to snap itself.
is_snap() { [[ "$(readlink -f "$1")" == */snap ]]; }

browser() {
  find_browser >/dev/null || apt_install chromium
}

# Exit if there are problems, or if required changes outside the checkout are not confirmed.
conclude_preflight() {
  local change
  ((PROBLEMS == 0)) || exit 1
  ((${#CHANGES[@]})) || return 0
  info "required outside this folder:"
  for change in "${CHANGES[@]}"; do info "  - $change"; done
  [[ $EUID -eq 0 ]] || die "these changes require root" "make them with sudo, then run this again as $(id -un)"
  confirm
}

engine() {
  phase "engine" "Docker Engine ≥ 25 and Compose ≥ 2.24; a running engine is not changed"
  if "$here/engine.sh" status >/dev/null 2>&1; then
    info "running"
    return
  fi
  "$here/engine.sh" install
  "$here/engine.sh" start
}

python_environment() {
  phase "Python environment" ".venv in this folder, with the dependencies of pyproject.toml"
  if [[ -z "$PYTHON" ]]; then
    apt_install python3-venv
    PYTHON=$(find_python) || die "the distribution's Python is older than $MIN_PYTHON" "install a newer one"
  fi
  (
    acquire_lock .netmon/python.lock
    build_environment
  )
}

# The fingerprint of .venv is written last, so that an interrupted build is repeated.
build_environment() {
  local fingerprint clear=()
  fingerprint=$({ echo "$root" && cat pyproject.toml; } | sha256sum)
  if usable_environment && [[ "$(cat $FINGERPRINT 2>/dev/null)" == "$fingerprint" ]]; then
    info "complete"
    return
  fi
  # A .venv from elsewhere is completed, not cleared.
  [[ ! -e $FINGERPRINT ]] || usable_environment || clear=(--clear)
  echo unfinished >$FINGERPRINT
  quietly "create .venv" "$PYTHON" -m venv "${clear[@]}" .venv
  .venv/bin/python >.netmon/requirements.txt -c 'import pathlib, tomllib
print(*tomllib.loads(pathlib.Path("pyproject.toml").read_text())["project"]["dependencies"], sep="\n")'
  quietly "install the dependencies" .venv/bin/python -m pip --disable-pip-version-check --no-input \
    install --requirement .netmon/requirements.txt
  echo "$fingerprint" >$FINGERPRINT
}

usable_environment() {
  [[ "$(cat $FINGERPRINT 2>/dev/null)" != unfinished ]] && .venv/bin/invoke --version >/dev/null 2>&1
}

# setting NAME: print its value from the environment or .env, with Compose's precedence.
setting() {
  local line
  if [[ -n "${!1:-}" ]]; then
    echo "${!1}"
  elif [[ -f .env ]] && line=$(grep -E "^$1=." .env); then
    line=${line#*=}
    echo "${line//[\"\']/}"
  fi
}

# The compose files of the profile, one a line, in the order of invoke.yaml.
layers() { sed -n "/^  profiles:/,/^  [^ ]/ {/^    $PROFILE:/,/^    [^ ]/ s/^      - //p}" invoke.yaml; }

# Print the published images of the profile, one a line: base images of builds first, since builds wait for them.
published_images() {
  local files=() locks=() groups=() layer lock required config
  while read -r layer; do
    files+=(-f "$layer")
    lock=images${layer#docker-compose}
    [[ ! -e ${lock%.yml}.lock ]] || locks+=(-f "${lock%.yml}.lock")
  done < <(layers)
  # The group that is enabled by default.
  [[ -v COMPOSE_PROFILES ]] || grep -qs '^COMPOSE_PROFILES=' .env || groups=(--profile monitoring)
  # Passwords may not exist yet; the names of images do not depend on them.
  required=$(grep -hoE '\$\{[A-Z_]+:\?' docker-compose*.yml | tr -dc 'A-Z_\n' | sort -u | sed 's/$/=unused/')
  # shellcheck disable=SC2086
  config=$(env $required docker compose "${files[@]}" "${locks[@]}" "${groups[@]}" config 2>/dev/null) || return
  { sed -nE 's|^ +[A-Z_]+_IMAGE: (.*/.*)$|\1|p' <<<"$config" && sed -nE 's|^    image: (.*/.*)$|\1|p' <<<"$config"; } |
    awk '!seen[$0]++'
}

# Pull the published images in the background while the Python environment is built. `invoke up` pulls the rest and
# reports failures.
start_pulls() {
  local names
  [[ "$IMAGES" != local ]] || return 0
  if [[ "$IMAGES" == auto ]]; then
    [[ "$(setting NETMON_IMAGES)" != local && -z "$(docker images --quiet 'netmon-local/*')" ]] || return 0
  fi
  names=$(published_images) || return 0
  info "images: pulled in the background, if a registry is reachable; log: .netmon/pulls.log"
  mkdir -p .netmon
  # Exit code 255 ends xargs: after a failure no further pull is started.
  # shellcheck disable=SC2016
  setsid xargs --max-procs=3 --replace=NAME sh -c \
    'docker image inspect "$1" >/dev/null 2>&1 || docker pull "$1" || exit 255' pull NAME \
    <<<"$names" >.netmon/pulls.log 2>&1 &
  PULLS=$!
  trap stop_pulls EXIT
}

stop_pulls() { kill -- "-$PULLS" 2>/dev/null || true; }
