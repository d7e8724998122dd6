"""CSV files as people write them, and what both readers, aetool's in Python and that of csv.mjs, make of them."""

NAMES = ("job", "size", "region", "weight")
CATEGORIES = {"job": ("clerk", "nurse", "pilot", "smith"), "region": ("10", "20", "3")}
HEADER, ROW = "job,size,region,weight\n", "clerk,1.5,10,70\n"
NAN, INF = float("nan"), float("inf")
PLAIN = [0, 1.5, 0, 70]
SEPARATORS = {"semicolons": ";", "tabs": "\t", "bars": "|", "spaces": "   "}


def _sizes(*cells):
    return HEADER + "".join(f"clerk,{cell},10,70\n" for cell in cells)


def _read(*sizes):
    return [[0, size, 0, 70] for size in sizes]


READ = {
    "as it should be": (HEADER + ROW, [PLAIN]),
    "Windows' line ends": ((HEADER + ROW + ROW).replace("\n", "\r\n"), [PLAIN] * 2),
    "old line ends": ((HEADER + ROW + ROW).replace("\n", "\r"), [PLAIN] * 2),
    "no line end at the end": (HEADER + ROW.strip(), [PLAIN]),
    "a byte order mark": ("\ufeff" + HEADER + ROW, [PLAIN]),
    "empty lines anywhere": ("\n\n" + HEADER + "\n" + ROW + "\n\n" + ROW + "\n", [PLAIN] * 2),
    "a header alone": (HEADER, []),
    "a header alone without a line end": (HEADER.strip(), []),
    "columns in another order, and others": ("weight,region,note,size,job\n70,10,x,1.5,clerk\n", [PLAIN]),
    "a column without a name": ("job,size,region,weight,\nclerk,1.5,10,70,5\n", [PLAIN]),
    "quoted cells": (HEADER + '"clerk","1.5","10"," 70 "\n', [PLAIN]),
    "quoted separators": ('job,size,region,weight,"a,b;c"\nclerk,1.5,10,70,"1,2;3"\n', [PLAIN]),
    "quoted line ends": ('"job","a\nb",size,region,weight\n"clerk","x\r\ny",1.5,10,70\n', [PLAIN]),
    "doubled quotes": ('"say ""job""",' + HEADER + "1," + ROW, [PLAIN]),
    "a quote that opens late is text": (
        HEADER + 'cl"er"k,1.5,10,70\n "clerk",1.5,10,70\n',
        [[-1, 1.5, 0, 70]] * 2,
    ),
    "text after a quoted part": (HEADER + '"cl"erk,1.5,10,70\n', [PLAIN]),
    "spaces around cells": (HEADER + " clerk , 1.5 ,10 ,\t70\n", [PLAIN]),
    "missing values": (HEADER + ",NA,null,\nNaN,#N/A,n/a,-nan\n", [[NAN] * 4] * 2),
    "missing values with spaces": (HEADER + "clerk,  ,10, NA \n", [[0, NAN, 0, NAN]]),
    "forms of numbers": (_sizes("+5", "5.", ".5", "1e3", "1E-2", "007"), _read(5, 5, 0.5, 1000, 0.01, 7)),
    "infinite numbers": (_sizes("inf", "-Infinity", "1e400", "INF"), _read(INF, -INF, INF, INF)),
    "forms of NaN": (_sizes("NAN", "Nan", "+nan", "1"), _read(NAN, NAN, NAN, 1)),
    "true and false as numbers": (_sizes("true", "False", "TRUE", ""), _read(1, 0, 1, NAN)),
    "true and 0": (_sizes("true", "0"), _read(1, 0)),
    "codes in base 16": (_sizes("0x1F", "10"), _read(31, 10)),
    "categories that are numbers": (HEADER + "clerk,1,10.0,70\nclerk,1,3.,70\n", [[0, 1, 0, 70], [0, 1, 2, 70]]),
    "categories that are unknown": (HEADER + "Clerk,1,03,70\n", [[-1, 1, -1, 70]]),
    "another line separator inside a cell": (HEADER + "cl\u2028erk,1.5,10,70\n", [[-1, 1.5, 0, 70]]),
    "bytes that are not UTF-8 in a column nobody needs": (
        ("note," + HEADER).encode() + b"gr\xf6\xdfe," + ROW.encode(),
        [PLAIN],
    ),
    "a separator at each row's end": (HEADER + (ROW[:-1] + ",\n") * 2, [PLAIN] * 2),
    "a separator at each line's end": ((HEADER + ROW).replace("\n", ",\n"), [PLAIN]),
    "Windows-1252": (HEADER.encode() + b"gr\xf6\xdfe,1.5,10,70\n", [[-1, 1.5, 0, 70]]),
    "UTF-16": ((HEADER + ROW).encode("utf-16"), [PLAIN]),
    "UTF-16 in the other order, without a mark": ((HEADER + ROW).encode("utf-16-be"), [PLAIN]),
    **{name: ((HEADER + ROW * 2).replace(",", mark), [PLAIN] * 2) for name, mark in SEPARATORS.items()},
    "Excel's first line": ("sep=;\r\n" + (HEADER + ROW).replace(",", ";"), [PLAIN]),
    "semicolons and decimal commas": (
        (HEADER + ROW).replace(",", ";").replace("1.5", "1,5"),
        [PLAIN],
    ),
    "tabs and decimal commas": ((HEADER + ROW).replace(",", "\t").replace("1.5", "1,5"), [PLAIN]),
    "quoted decimal commas": (_sizes('"1,5"', '"2,25"'), _read(1.5, 2.25)),
    "groups of digits": (_sizes('"1,234.5"', '"12,000"', "7"), _read(1234.5, 12000, 7)),
    "groups of digits with decimal commas": (
        _sizes("1.234,5", "12.000", "7").replace(",", ";").replace("4;5", "4,5"),
        _read(1234.5, 12000, 7),
    ),
    "groups of digits by spaces and apostrophes": (_sizes("1 234.5", "12\u2019000"), _read(1234.5, 12000)),
    "a currency, a sign that is none in ASCII, accounting": (
        _sizes("$5", "\u22123.5", "(7)"),
        _read(5, -3.5, -7),
    ),
    "one unit": (_sizes("5 kg", "0", "6.5kg"), _read(5, 0, 6.5)),
    "yes and no": (_sizes("yes", "No", "?"), _read(1, 0, NAN)),
    "words for a missing value": (_sizes("?", "-", "n.a.", "#DIV/0!", "None", "1"), _read(*[NAN] * 5, 1)),
    "words for a missing value among categories": (HEADER + "?,1,-,70\n", [[-1, 1, -1, 70]]),
    "quoted names": ('"job","size","region","weight"\n' + ROW, [PLAIN]),
    "spaces around names": (" job , size,region ,\tweight\n" + ROW, [PLAIN]),
    "a title above": ("Staff, measured\nin May\n\n" + HEADER + ROW * 2, [PLAIN] * 2),
    "units below the header": (HEADER + ",cm,,kg\n" + ROW * 2, [PLAIN] * 2),
    "empty rows at the end": (HEADER + ROW * 2 + ",,,\n,,,\n", [PLAIN] * 2),
    "no header": (ROW * 2, [PLAIN] * 2),
    "no header, a word for 1, an unknown category": (
        "smyth,yes,10,70\n" + "nurse,no,3,7\n",
        [[-1, 1, 0, 70], [1, 0, 2, 7]],
    ),
    "no header, tabs and spaces": ((ROW * 2).replace(",", " \t"), [PLAIN] * 2),
    "no header, commas and spaces": ((ROW * 2).replace(",", ", "), [PLAIN] * 2),
    "no header, semicolons, decimal commas": ((ROW * 2).replace(",", ";").replace("1.5", "1,5"), [PLAIN] * 2),
}
"""Case -> the file, and the rows that are read."""

REFUSED = {
    "nothing": ("", "the file is empty"),
    "empty lines": ("\n\n", "the file is empty"),
    "names that are all wrong": (
        "a,b,c,d\n" + ROW,
        "looks like another table than the model was trained on: 4 of its 4",
    ),
    "names in capitals": (HEADER.upper() + ROW, "missing columns 'job' .nearest: 'JOB'.*, asked for by the model"),
    "one wrong name": (
        "job,length,region,weight\n" + ROW,
        "missing column 'size'.*, asked for by the model; found 'job'",
    ),
    "a needed column twice": ("job,size,size,region,weight\nclerk,1,2,10,70\n", "repeated column names 'size'"),
    "a short row": (HEADER + ROW + "clerk,1,10\n", "row 2: 3 columns found, 4 expected as in the header"),
    "a long row": (HEADER + ROW + ROW + "clerk,1,10,5,6\n", "row 3: 5 columns found, 4 expected as in the header"),
    "a quote left open": (HEADER + '"clerk,1.5,10,70\n' + ROW, "quote"),
    "a list in a cell": (_sizes("[7]"), "'size'"),
    "an expression": (_sizes("1+1"), "'size'"),
    "digits in groups": (_sizes("1_000"), "'size'"),
    "a date": (_sizes("2020-01-01"), "'size'"),
    "base 16 among others": (_sizes("0x1F", "1.5"), "'size'"),
    "one cell of text": (_sizes("1", "abc", "2"), "row 2, column 'size': 'abc' is not a number"),
    "true among numbers": (_sizes("true", "2", "3"), "row 1, column 'size': 'true' is not a number"),
    "bytes that are neither UTF-8 nor Windows-1252": (HEADER.encode() + b"gr\xf6\xdf\xe4,1,10,70\n", "not UTF-8"),
    "NUL bytes": (HEADER + "clerk,1,10,\0\n", "NUL bytes where text is expected"),
    "rows longer than the header at some ends": (
        HEADER + ROW[:-1] + ",\n" + ROW + ROW,
        "row 1: 5 columns found, 4",
    ),
    "a group of digits that may be a fraction": (_sizes('"1,234"', '"5,678"'), "'1,234' may be "),
    "two decimal marks": (_sizes('"1,5"', "2.5"), "have different decimal marks"),
    "two units": (_sizes("5 kg", "3 g", "7 kg", "8 kg", "9 kg"), "have different units"),
    "words above another model's numbers": ("1st,2nd,3rd,4th\n1,2,3,4\n", "looks like another table"),
}
"""Case -> the file, and what the message matches."""
