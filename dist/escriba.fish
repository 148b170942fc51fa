# Completion of escriba's command line for fish: asks the program itself, so it knows what the program knows.
function __escriba_verbs
    escriba help 2>/dev/null | string match -rg '^  ([a-z]+)  .*'
end
function __escriba_flags
    set -l words (commandline -opc)
    escriba help $words[2] 2>/dev/null | string match -rga -- '(--[a-z-]+)' | sort -u
end
complete -c escriba -n __fish_use_subcommand -f -a '(__escriba_verbs)'
complete -c escriba -n 'not __fish_use_subcommand; and string match -q -- "-*" (commandline -ct)' -f -a '(__escriba_flags)'
complete -c escriba -n 'not __fish_use_subcommand; and contains -- --model (commandline -opc)[-1]' -f \
    -a '(escriba models 2>/dev/null | string match -rg "^(\S+)")'
