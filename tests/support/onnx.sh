# Small ONNX files out of a shell script: protobuf messages as octal escapes (\001\170...), four characters a byte.

onnx_text() { # TEXT
    printf %s "$1" | od -An -v -to1 | tr -d '\n' | sed 's/ /\\/g'
}

onnx_varint() { # NUMBER below 2^31
    onnx_rest=$1
    while [ "$onnx_rest" -gt 127 ]; do
        printf '\\%03o' $((onnx_rest % 128 + 128))
        onnx_rest=$((onnx_rest / 128))
    done
    printf '\\%03o' "$onnx_rest"
}

onnx_field() { # NUMBER BYTES: a string or message
    onnx_varint $(($1 * 8 + 2))
    onnx_varint $((${#2} / 4))
    printf %s "$2"
}

onnx_number() { # NUMBER VALUE
    onnx_varint $(($1 * 8))
    onnx_varint "$2"
}

onnx_node() { # OP NAME OUTPUT INPUT...
    onnx_body=$(onnx_field 4 "$(onnx_text "$1")")$(onnx_field 3 "$(onnx_text "$2")")$(onnx_field 2 "$(onnx_text "$3")")
    shift 3
    for onnx_input; do
        onnx_body=$onnx_body$(onnx_field 1 "$(onnx_text "$onnx_input")")
    done
    onnx_field 1 "$onnx_body"
}

onnx_dim() { # EXTENT, as the varint's bytes or a NUMBER, or a NAME where it is open
    case $1 in
    \\*) onnx_field 1 "\\010$1" ;;
    *[!0-9]*) onnx_field 1 "$(onnx_field 2 "$(onnx_text "$1")")" ;;
    *) onnx_field 1 "$(onnx_number 1 "$1")" ;;
    esac
}

onnx_input() { # NAME EXTENT...: of FLOAT
    onnx_name=$1
    onnx_shape=
    shift
    for onnx_extent; do
        onnx_shape=$onnx_shape$(onnx_dim "$onnx_extent")
    done
    onnx_type=$(onnx_field 1 "$(onnx_number 1 1)$(onnx_field 2 "$onnx_shape")")
    onnx_field 11 "$(onnx_field 1 "$(onnx_text "$onnx_name")")$(onnx_field 2 "$onnx_type")"
}

onnx_external() { # NAME ELEMENTS FILE: a FLOAT initialiser stored beside the model
    onnx_place=$(onnx_field 1 "$(onnx_text location)")$(onnx_field 2 "$(onnx_text "$3")")
    onnx_field 5 "$(onnx_number 1 "$2")$(onnx_number 2 1)$(onnx_field 8 "$(onnx_text "$1")")$(onnx_field 13 "$onnx_place")$(onnx_number 14 1)"
}

onnx_model() { # FILE OPSET GRAPH: the graph's output is "y"
    onnx_graph=$3$(onnx_field 12 "$(onnx_field 1 "$(onnx_text y)")")
    # shellcheck disable=SC2059 # the escapes are what is printed
    printf "$(onnx_number 1 8)$(onnx_field 7 "$onnx_graph")$(onnx_field 8 "$(onnx_number 2 "$2")")" > "$1"
}
