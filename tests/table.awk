# The table of majors.sh. A line of its input is a suite: major, name, passed, failed, why it did not run.
{
  if (!($2 in seen)) names[++rows] = $2
  if (!($1 in columns)) { columns[$1]; majors[++width] = $1 }
  seen[$2]
  cell[$2, $1] = ($4 ? $4 " of " ($3 + $4) " failed" : $3) ($5 == "" ? "" : "*")
  passed += $3
  failed += $4
  if ($5 != "") why[++notes] = "* " $2 " on " $1 ": " $5
}
END {
  for (i = 2; i <= width; i++)
    for (j = i; j > 1 && majors[j] + 0 < majors[j - 1] + 0; j--) {
      one = majors[j]; majors[j] = majors[j - 1]; majors[j - 1] = one
    }
  printf "%-24s", ""
  for (i = 1; i <= width; i++) printf "%16s", majors[i]
  print ""
  for (row = 1; row <= rows; row++) {
    printf "%-24s", names[row]
    for (i = 1; i <= width; i++) {
      one = cell[names[row], majors[i]]
      printf "%16s", one == "" ? "-" : one
    }
    print ""
  }
  for (i = 1; i <= notes; i++) print why[i]
  printf "\n%d passed, %d failed\n", passed, failed
  exit failed > 0
}
