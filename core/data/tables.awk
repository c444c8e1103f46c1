# Turns the tables of this folder into C (core/src/data.h): awk -f tables.awk FILE.tsv...
# A table's first line is its header; every line must have as many cells as it has.
function name_of(path) {
    sub(/.*\//, "", path)
    sub(/\.tsv$/, "", path)
    gsub(/[^A-Za-z0-9]/, "_", path)
    return path
}
function finish() {
    if (table == "")
        return
    printf "};\nconst vmc_table vmc_data_%s = {cells_%s, %d, %d};\n\n", table, table, rows, columns
}
function fault(what) {
    printf "%s:%d: %s\n", FILENAME, FNR, what > "/dev/stderr"
    failed = 1
    exit 1
}
BEGIN {
    FS = "\t"
    print "/* Made by core/data/tables.awk. */"
    print "#include \"data.h\"\n"
}
FNR == 1 {
    finish()
    table = name_of(FILENAME)
    columns = NF
    rows = 0
    printf "static const char *const cells_%s[] = {\n", table
}
{
    if (NF != columns)
        fault(NF " cells, and the header has " columns)
    if ($0 ~ /[\001-\010\013-\037\177]/)
        fault("a control character")
    for (i = 1; i <= NF; i++) {
        cell = $i
        gsub(/\\/, "\\\\", cell)
        gsub(/"/, "\\\"", cell)
        printf "    \"%s\",\n", cell
    }
    if (FNR > 1)
        rows++
}
END {
    if (!failed)
        finish()
    exit failed
}
