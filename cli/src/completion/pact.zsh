#compdef pact
# Completion of pact for zsh, printed by `pact completions zsh`.

_pact() {
    local -a answer candidates
    # On standard input: what was typed may hold a token, which the arguments of a process would show to others.
    answer=("${(@f)$(printf '%s\0' "${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}" | command pact __complete zsh 2>/dev/null)}")
    candidates=("${(@)answer[2,-1]}")
    case $answer[1] in
    files)
        compset -P '*@file:'
        _files
        ;;
    open) _describe -t values value candidates -S '' ;;
    plain) _describe -t values value candidates ;;
    esac
}

if [[ $funcstack[1] == _pact ]]; then _pact "$@"; else compdef _pact pact; fi
