# Completion of pact for bash, printed by `pact completions bash`.

_pact() {
    local candidate mode=''
    COMPREPLY=()
    # On standard input: what was typed may hold a token, which the arguments of a process would show to others.
    while IFS= read -r candidate; do
        if [[ -z $mode ]]; then mode=$candidate; else COMPREPLY+=("$candidate"); fi
    done < <(printf '%s\0' "$2" "${COMP_LINE:0:COMP_POINT}" | command pact __complete bash 2>/dev/null)
    case $mode in
    files) compopt -o default ;;
    open) compopt -o nospace ;;
    esac
}

complete -F _pact pact
