# Writes as C what src/ declares by hand of PostgreSQL, for declarations.sh: the functions and the
# variables in its `extern` blocks, and the structs that hold C functions. What it cannot read
# becomes C that does not compile. It relies on how rustfmt breaks lines.

# `*mut T` is `T *`, `*const T` is `T const *`. A path goes, and the `::Type` of pgrx's enums.
function c_type(type) {
  if (sub(/^\*mut /, "", type)) return c_type(type) " *"
  if (sub(/^\*const /, "", type)) return c_type(type) " const *"
  sub(/::Type$/, "", type)
  sub(/^.*::/, "", type)
  return type
}

# Declares `name` as what `fn(arguments) -> result` says.
function c_function(name, type,    result, list, count, i, arguments) {
  result = "void"
  if (match(type, /\) -> .*/)) {
    result = c_type(substr(type, RSTART + 5))
    type = substr(type, 1, RSTART)
  }
  sub(/^[^(]*\( */, "", type)
  sub(/,? *\)$/, "", type)
  count = split(type, list, / *, */)
  for (i = 1; i <= count; i++) {
    sub(/^[A-Za-z0-9_#]+: /, "", list[i])
    arguments = arguments (i > 1 ? ", " : "") c_type(list[i])
  }
  return result " " name "(" (count ? arguments : "void") ")"
}

function c_variable(name, type) {
  return type ~ /fn\(/ ? c_function("(*" name ")", type) : c_type(type) " " name
}

# Each `#[cfg(…)]` among these attributes, for `#if`. It knows `feature`, `not` and `any`.
function c_condition(attributes,    condition, one) {
  condition = "1"
  while (match(attributes, /#\[cfg\([^]]*\)\]/)) {
    one = substr(attributes, RSTART + 5, RLENGTH - 6)
    attributes = substr(attributes, RSTART + RLENGTH)
    gsub(/feature = |"/, "", one)
    gsub(/not\(/, "!(", one)
    gsub(/any\(/, "(", one)
    gsub(/, *\)/, ")", one)
    gsub(/,/, " ||", one)
    condition = condition " && " one
  }
  return condition
}

# The compiler's message then names the line of Rust.
function emit(condition, line, c) {
  printf "#if %s\n#line %d \"%s\"\n%s\n#endif\n", condition, line, FILENAME, c
}

# An item of an `extern` block: the headers must know its name, and give it no other type.
function declaration(item, line,    condition, name, ours) {
  condition = c_condition(attributes item)
  gsub(/#\[cfg\([^]]*\)\] */, "", item)
  sub(/^pub(\([a-z]+\))? /, "", item)
  sub(/^(safe|unsafe) /, "", item)
  if (match(item, /^fn [A-Za-z0-9_]+\(/)) {
    name = substr(item, 4, RLENGTH - 4)
    ours = c_function(name, item)
  } else if (match(item, /^static (mut )?[A-Za-z0-9_]+: /)) {
    name = substr(item, 1, RLENGTH - 2)
    sub(/^.* /, "", name)
    ours = c_variable(name, substr(item, RLENGTH + 1))
  }
  if (name) emit(condition, line, "typedef __typeof__(" name ") theirs_" name "; extern " ours ";")
  else emit(condition, line, "#error not understood: " item)
  declarations++
}

function member(item, line) {
  sub(/^pub(\([a-z]+\))? /, "", item)
  members++
  member_line[members] = line
  member_name[members] = member_type[members] = item
  sub(/: .*/, "", member_name[members])
  sub(/^[^:]*: /, "", member_type[members])
  if (item ~ /extern "[^"]*" fn\(/) holds_functions = 1
}

# A struct of ours has the layout of PostgreSQL's, to which declarations.h gives the same name.
function layout(struct, line,    condition, i, name, copy, fields) {
  condition = c_condition(attributes)
  for (i = 1; i <= members; i++)
    fields = fields c_variable(member_name[i], member_type[i]) "; "
  emit(condition, line, "struct our_" struct " { " fields "};\n_Static_assert(sizeof(struct our_" \
    struct ") == sizeof(" struct "), \"" struct " is of another size in the header\");")
  for (i = 1; i <= members; i++) {
    name = member_name[i]
    copy = struct "_" name
    emit(condition, member_line[i], "extern __typeof__(((" struct " *) 0)->" name ") " copy \
      "; extern " c_variable(copy, member_type[i]) "; _Static_assert(offsetof(struct our_" struct \
      ", " name ") == offsetof(" struct ", " name "), \"" name " is elsewhere in the header\");")
  }
}

FNR == 1 { inside = attributes = "" }
{
  sub(/^[ \t]*\/\/.*|[ \t]\/\/.*/, "")
  sub(/^[ \t]+/, "")
  sub(/[ \t]+$/, "")
}
$0 == "" { next }
!inside && /^#\[/ { attributes = attributes $0; next }
!inside && /extern "[^"]*" \{$/ { inside = "extern"; item = ""; next }
!inside && attributes ~ /repr\(C\)/ && /struct [A-Za-z0-9_]+ \{$/ {
  inside = $(NF - 1)
  struct_line = FNR
  item = ""
  members = holds_functions = 0
  next
}
!inside { attributes = ""; next }
/^\}/ {
  if (inside != "extern" && holds_functions) layout(inside, struct_line)
  inside = attributes = ""
  next
}
item == "" { line = FNR }
{ item = item (item == "" ? "" : " ") $0 }
inside == "extern" && /;$/ {
  declaration(substr(item, 1, length(item) - 1), line)
  item = ""
}
# A comma ends a member where no parenthesis is open.
inside != "extern" && /,$/ && gsub(/\(/, "(", item) == gsub(/\)/, ")", item) {
  member(substr(item, 1, length(item) - 1), line)
  item = ""
}
END { if (!declarations) print "#error no declaration found in src/" }
