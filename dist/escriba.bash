# Completion of escriba's command line for bash: asks the program itself, so it knows what the program knows.
_escriba() {
    local word=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]}
    if [ "$COMP_CWORD" -eq 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "$(escriba help 2>/dev/null | sed -n 's/^  \([a-z]*\)  .*/\1/p') help" -- "$word")
    elif [ "${COMP_WORDS[COMP_CWORD - 1]}" = --model ]; then
        mapfile -t COMPREPLY < <(compgen -d -- "$word"; compgen -W "$(escriba models 2>/dev/null | awk '{print $1}')" -- "$word")
    elif [ "${word#-}" != "$word" ]; then
        mapfile -t COMPREPLY < <(compgen -W "$(escriba help "$verb" 2>/dev/null | grep -oE -- '--[a-z-]+' | sort -u)" -- "$word")
    else
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
    fi
}
complete -o filenames -F _escriba escriba
