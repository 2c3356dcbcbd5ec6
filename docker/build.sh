#!/bin/bash
# Installs Leveret from the tree in the working directory into the folder $1, and makes that and the Python beside it small: the first
# stage of the Dockerfile. Leaves $1/packages: Debian's packages that the libraries in both need.
set -euo pipefail

target=$1
export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install --yes --no-install-recommends binutils
python=$(command -v python3)
prefix=$("$python" -c 'import sys; print(sys.base_prefix)')

"$python" -m venv --without-pip "$target"
"$python" -m pip --python "$target/bin/python3" install --no-cache-dir --disable-pip-version-check --prefer-binary .

# What neither the broker nor a command uses: installers, toolkits, tests.
library=$("$python" -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
(
    cd "$library"
    rm -rf ensurepip idlelib lib2to3 pydoc_data site-packages/pip site-packages/pip-* test tkinter turtle.py turtledemo config-*
    rm -rf lib-dynload/_test*.so lib-dynload/_ctypes_test*.so lib-dynload/_tkinter*.so lib-dynload/xxlimited*.so lib-dynload/_dbm*.so lib-dynload/_gdbm*.so
)
rm -rf "$prefix"/include "$prefix"/share "$prefix"/lib/pkgconfig
rm -f "$prefix"/bin/{2to3,idle,pip,pydoc}*

# A third of what they are.
find "$prefix" "$target" -name '*.so*' -type f -exec strip --strip-unneeded {} +

# The user can't write there, so without these each command would compile what it imports anew.
find "$prefix" "$target" -name __pycache__ -prune -exec rm -rf {} +
"$python" -m compileall -q --invalidation-mode unchecked-hash "$library" "$target"/lib

# ldd complains of what isn't linked to anything; dpkg knows nothing of what is in $prefix itself.
find "$prefix" "$target" -type f \( -perm -u+x -o -name '*.so*' \) -exec sh -c 'ldd "$@" 2>/dev/null || true' sh {} + \
    | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' \
    | sort -u \
    | while read -r shared; do dpkg-query --search "*/$(basename "$shared")" 2>/dev/null || true; done \
    | sed -n '/^diversion /d; s/:.*//p' \
    | sort -u >"$target/packages"
cat "$target/packages"
