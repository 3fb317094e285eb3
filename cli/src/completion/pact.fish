# Completion of pact for fish, printed by `pact completions fish`.

function __pact_complete
    set -l typed (commandline -opc) (commandline -ct)
    # On standard input: what was typed may hold a token, which the arguments of a process would show to others.
    printf '%s\0' $typed | command pact __complete fish 2>/dev/null
end

complete -c pact -f -a '(__pact_complete)'
