# The phases that quickstart.sh and test.sh share. Sourced, never run; works in the checkout ($root).
# shellcheck shell=bash disable=SC2154

# GiB on Docker's disk to run and to get the images too.
MIN_DISK=2
ROOM_FOR_IMAGES=10
# GiB of memory. At rest the services take 1.1 (local images, measured) or 1.7 (published ones, estimated); the rest is
# for load, the page cache and the compilers of local images. In production Kafka's heap alone may grow to 1,
# PostgreSQL to 4.
ROOM_IN_MEMORY=4
ROOM_IN_PRODUCTION=8
MIN_PYTHON=3.11
BUILT_FROM=.netmon/python
# What has to be changed outside the checkout, and the wrong things that preflight found.
CHANGES=()
PROBLEMS=0

problem() {
  (die "$@") || PROBLEMS=$((PROBLEMS + 1))
}

# Print a Python that is new enough and can make virtual environments (Debian packs ensurepip apart).
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
  local free memory room=$ROOM_IN_MEMORY
  [[ "${PROFILE:-dev}" != prod ]] || room=$ROOM_IN_PRODUCTION
  [[ "$(uname -s)" == Linux ]] || problem "this script is for Linux, not for $(uname -s)" "see README.md, Requirements"
  [[ -w $root ]] || problem "$root is not writable for the account $(id -un)" "make it yours: chown -R $(id -un) $root"
  free=$(df --output=avail -BG "$(docker_disk)" | tail -n 1 | tr -dc '0-9')
  if ((free < MIN_DISK)); then
    problem "$free GiB are free on the disk of $(docker_disk), $MIN_DISK GiB are needed" \
      "free some space (docker system df shows Docker's share)"
  elif ((free < ROOM_FOR_IMAGES)); then
    warn "$free GiB are free on the disk of $(docker_disk); getting the images may need $ROOM_FOR_IMAGES GiB"
  fi
  memory=$(awk '/^MemTotal:/ { printf "%.0f", $2 / 1048576 }' /proc/meminfo)
  ((memory >= room)) || warn "this machine has $memory GiB of memory; $room GiB are recommended"
  say "$free GiB of disk free, $memory GiB of memory"
}

# The nearest existing folder above the one that the engine keeps its images in.
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
    1) CHANGES+=("scripts/engine.sh install and scripts/engine.sh start, as said above") ;;
    *) PROBLEMS=$((PROBLEMS + 1)) ;;
  esac
}

check_python() {
  if PYTHON=$(find_python); then
    say "$("$PYTHON" --version) ($PYTHON)"
  elif command -v apt-get >/dev/null; then
    CHANGES+=("apt-get install python3-venv")
  else
    problem "no Python ≥ $MIN_PYTHON with the modules venv and ensurepip was found" "install it"
  fi
}

# The tests of the status page drive Debian's chromium. (Ubuntu's package of this name is a snap: Chrome will do.)
check_browser() {
  local snap
  if find_browser >/dev/null; then
    say "$(find_browser)"
  elif [[ "$(distribution)" == debian ]]; then
    CHANGES+=("apt-get install chromium, for the tests of the status page")
  elif snap=$(browsers | head -n 1) && [[ -n "$snap" ]]; then
    problem "$snap is a snap, confined to its own files: the tests of the status page cannot drive it" \
      "install Google Chrome, or a Chromium that is not a snap, beside it"
  else
    problem "no browser was found that the tests of the status page could drive" "install Chromium or Chrome"
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

# What snap installs is a link to snap itself.
is_snap() { [[ "$(readlink -f "$1")" == */snap ]]; }

browser() {
  find_browser >/dev/null || apt_install chromium
}

# Stop here if anything is wrong, or if the system would have to be changed and may not be.
conclude_preflight() {
  local change
  ((PROBLEMS == 0)) || exit 1
  ((${#CHANGES[@]})) || return 0
  say "outside this folder, this would:"
  for change in "${CHANGES[@]}"; do say "  - $change"; done
  [[ $EUID -eq 0 ]] || die "that takes root" "do the above with sudo, then run this again as $(id -un)"
  consent
}

engine() {
  phase "engine" "a Docker Engine ≥ 25 and Compose ≥ 2.24; none is touched where they answer"
  if "$here/engine.sh" status >/dev/null 2>&1; then
    say "used as it is"
    return
  fi
  "$here/engine.sh" install
  "$here/engine.sh" start
}

python_environment() {
  phase "Python environment" ".venv in this folder, with the dependencies that pyproject.toml names"
  if [[ -z "$PYTHON" ]]; then
    apt_install python3-venv
    PYTHON=$(find_python) || die "the distribution's Python is older than $MIN_PYTHON" "install a newer one"
  fi
  (
    one_at_a_time .netmon/python.lock
    build_environment
  )
}

# What .venv was built from is written down last, so that a build that was cut off is made anew.
build_environment() {
  local wanted clear=()
  wanted=$({ echo "$root" && cat pyproject.toml; } | sha256sum)
  if usable_environment && [[ "$(cat $BUILT_FROM 2>/dev/null)" == "$wanted" ]]; then
    say "complete"
    return
  fi
  # A .venv that was not made here is completed, not emptied.
  [[ ! -e $BUILT_FROM ]] || usable_environment || clear=(--clear)
  echo unfinished >$BUILT_FROM
  quietly "create .venv" "$PYTHON" -m venv "${clear[@]}" .venv
  .venv/bin/python >.netmon/requirements.txt -c 'import pathlib, tomllib
print(*tomllib.loads(pathlib.Path("pyproject.toml").read_text())["project"]["dependencies"], sep="\n")'
  quietly "install the dependencies" .venv/bin/python -m pip --disable-pip-version-check --no-input \
    install --requirement .netmon/requirements.txt
  echo "$wanted" >$BUILT_FROM
}

usable_environment() {
  [[ "$(cat $BUILT_FROM 2>/dev/null)" != unfinished ]] && .venv/bin/invoke --version >/dev/null 2>&1
}

# setting NAME: its value from the environment or .env, as Compose takes it.
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

# The published images of the profile, one a line: first those that builds start from, since these wait for them.
published_images() {
  local files=() locks=() groups=() layer lock required config
  while read -r layer; do
    files+=(-f "$layer")
    lock=images${layer#docker-compose}
    [[ ! -e ${lock%.yml}.lock ]] || locks+=(-f "${lock%.yml}.lock")
  done < <(layers)
  # The group that is on unless .env says otherwise.
  [[ -v COMPOSE_PROFILES ]] || grep -qs '^COMPOSE_PROFILES=' .env || groups=(--profile monitoring)
  # There may be no passwords yet; names of images have none.
  required=$(grep -hoE '\$\{[A-Z_]+:\?' docker-compose*.yml | tr -dc 'A-Z_\n' | sort -u | sed 's/$/=unused/')
  # shellcheck disable=SC2086
  config=$(env $required docker compose "${files[@]}" "${locks[@]}" "${groups[@]}" config 2>/dev/null) || return
  { sed -nE 's|^ +[A-Z_]+_IMAGE: (.*/.*)$|\1|p' <<<"$config" && sed -nE 's|^    image: (.*/.*)$|\1|p' <<<"$config"; } |
    awk '!seen[$0]++'
}

# Pull the published images while the Python environment is made, which they do not need. This only gives a lead: `invoke
# up` takes what has come, pulls the rest, and reports what fails.
begin_pulls() {
  local names
  [[ "$IMAGES" != local ]] || return 0
  if [[ "$IMAGES" == auto ]]; then
    [[ "$(setting NETMON_IMAGES)" != local && -z "$(docker images --quiet 'netmon-local/*')" ]] || return 0
  fi
  names=$(published_images) || return 0
  say "images: pulled meanwhile, if a registry can be reached; log: .netmon/pulls.log"
  mkdir -p .netmon
  # An exit code of 255 ends xargs: after a failure no other pull is begun.
  # shellcheck disable=SC2016
  setsid xargs --max-procs=3 --replace=NAME sh -c \
    'docker image inspect "$1" >/dev/null 2>&1 || docker pull "$1" || exit 255' pull NAME \
    <<<"$names" >.netmon/pulls.log 2>&1 &
  PULLS=$!
  trap end_pulls EXIT
}

end_pulls() { kill -- "-$PULLS" 2>/dev/null || true; }
