#!/usr/bin/env bash
# Writes the text on which the base `tiny` is pretrained: UTF-8 files made from
# Debian packages alone, all in the public domain or under a permissive licence.
#
#   corpus.sh [--install] DIR
#
# Prints sizes and SHA-256 at the end. Equal package versions give equal bytes:
# nothing here depends on the locale, the time or the order of a directory.
# Without --install nothing is installed; what is missing is named.
set -euo pipefail
export LC_ALL=C

packages=(bible-kjv bible-kjv-text wordnet-base sword-text-web diatheke sqlite3-doc dict-jargon dict-elements calendar)

die() { printf 'corpus.sh: %s\n' "$*" >&2; exit 1; }

install=false
out=
for arg in "$@"; do
    case $arg in
        --install) install=true ;;
        -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
        -*) die "unknown option $arg (known: --install)" ;;
        *) [ -z "$out" ] || die "one directory, got $out and $arg"; out=$arg ;;
    esac
done
[ -n "$out" ] || die "usage: corpus.sh [--install] DIR"

missing=()
for package in "${packages[@]}"; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    $install || die "missing Debian packages: ${missing[*]}
install them with: apt-get install --no-install-recommends ${missing[*]}
or run this script with --install"
    # A slim image leaves documentation out; sqlite3-doc is nothing but that.
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        -o Dpkg::Options::='--path-include=/usr/share/doc/*' "${missing[@]}" >&2 ||
        die "apt-get could not install: ${missing[*]} (try apt-get update first)"
fi
[ -d /usr/share/doc/sqlite3/c3ref ] ||
    die "sqlite3-doc is installed without its pages: this system excludes /usr/share/doc;
reinstall it with: apt-get install --reinstall -o Dpkg::Options::='--path-include=/usr/share/doc/*' sqlite3-doc"

mkdir -p "$out"
work=$(mktemp -d "$out/.corpus.XXXXXX")
trap 'rm -rf "$work"' EXIT

# --- King James text: one paragraph a chapter, "Genesis 1: 1 In the … 2 And the …".
kjv() {
    bible -f -l100000 'Gen1:1-Rev22:21' | perl -CSD -ne '
        BEGIN {
            my @long = ("Genesis", "Exodus", "Leviticus", "Numbers", "Deuteronomy", "Joshua",
                "Judges", "Ruth", "1 Samuel", "2 Samuel", "1 Kings", "2 Kings", "1 Chronicles",
                "2 Chronicles", "Ezra", "Nehemiah", "Esther", "Job", "Psalm", "Proverbs",
                "Ecclesiastes", "Song of Solomon", "Isaiah", "Jeremiah", "Lamentations",
                "Ezekiel", "Daniel", "Hosea", "Joel", "Amos", "Obadiah", "Jonah", "Micah",
                "Nahum", "Habakkuk", "Zephaniah", "Haggai", "Zechariah", "Malachi", "Matthew",
                "Mark", "Luke", "John", "Acts", "Romans", "1 Corinthians", "2 Corinthians",
                "Galatians", "Ephesians", "Philippians", "Colossians", "1 Thessalonians",
                "2 Thessalonians", "1 Timothy", "2 Timothy", "Titus", "Philemon", "Hebrews",
                "James", "1 Peter", "2 Peter", "1 John", "2 John", "3 John", "Jude", "Revelation");
            sub name { my $n = keys %name; $name{$_[0]} //= $long[$n] }
        }
        my ($book, $chapter, $verse, $text) = /^(\d?[A-Za-z]+)(\d+):(\d+) (.*\S)/ or next;
        print $open++ ? "\n" : "", name($book), " $chapter:" if $verse == 1;
        print " $verse $text";
        END { print "\n"; keys %name == 66 or die "expected 66 books, found ", scalar keys %name }'
}

# --- World English Bible: the same form in modern English. The titles of psalms
# are repeated before every verse by diatheke and so are left out.
web() {
    diatheke -b engWEB2015eb -f internal -k 'Gen-Rev' | perl -CSD -ne '
        s{<title.*?</title>}{}g; s{<note.*?</note>}{}g; s{</w><w}{</w> <w}g;
        s{<(?:l|lg|div|p|q|milestone)\b[^>]*>|</q>}{ }g; s{<[^>]*>}{}g;
        my ($book, $chapter, $verse, $text) = /^\s*([1-3A-Z][\w ]*?) (\d+):(\d+): (.*)/ or next;
        for ($text) { s/\s+/ /g; s/^ | $//g; s/ ([,.;:?!’”])/$1/g; s/([“‘]) /$1/g }
        next unless $text =~ /\w/;
        if ("$book $chapter" ne ($at // "")) {
            $at = "$book $chapter";
            $book =~ s/^I /1 / or $book =~ s/^II /2 / or $book =~ s/^III /3 / or $book =~ s/^IV /4 /;
            $book =~ s/^Psalms$/Psalm/; $book =~ s/ of John$//;
            print $open++ ? "\n" : "", "$book $chapter:";
        }
        print " $verse $text";
        END { print "\n"; $open > 1000 or die "expected over 1000 chapters, found $open" }'
}

# --- WordNet: each sense as "words: gloss.", then its example sentences.
wordnet() {
    for part in noun verb adj adv; do
        perl -ne '
            next unless /^\d/;
            chomp(my $line = $_);
            my ($data, $gloss) = split / \| /, $line, 2;
            my @field = split / /, $data;
            my @words = map { my $w = $field[4 + 2 * $_]; $w =~ s/\(\w+\)$//; $w =~ tr/_/ /; $w }
                0 .. hex($field[3]) - 1;
            $gloss =~ s/\s+/ /g; $gloss =~ s/`([^\x27`]*)\x27/"$1"/g;
            my @example;
            # An example stands in quotes at the end of the gloss; a quotation
            # inside a definition stays where it is.
            while ($gloss =~ s/[;:,]\s*"([^"]{3,})"\s*(?:-\s*([^";]*?))?\s*$//) {
                unshift @example, $1;
            }
            $gloss =~ s/^[\s;]+|[\s;]+$//g;
            next unless $gloss =~ /\w/;
            my $text = join(", ", @words) . ": $gloss";
            for (@example) { s/^\s+|\s+$//g; $_ = ucfirst }
            s/(?<![.?!])$/./ for $text, @example;
            print join(" ", $text, @example), "\n";' "/usr/share/wordnet/data.$part"
    done
}

# --- SQLite's documentation: the prose of its pages, without code, tables and
# navigation. Indexes, change logs and lists of every function are left out.
sqlite() {
    local pages=/usr/share/doc/sqlite3
    find "$pages" "$pages/c3ref" -maxdepth 1 -name '*.html' | sort -u |
        grep -vE '/(doc_[a-z]+_crossref|keyword_index|doclist|sitemap|requirements|toc|index|docs|changes|download|books|funclist|objlist|constlist|intro|syntaxdiagrams|hp1|fullsql|opcode|capi3ref|syntax|releaselog|crew|consortium.*|copyright-release|session|oldnews|news|search|cves|c3ref)\.html$' |
        while IFS= read -r page; do
            perl -CSD -0777 -ne '
                s{<!--.*?-->|<(script|style|head|pre|table|svg|nav)\b.*?</\1>|<div class="?(?:nosearch|menu|searchmenu|hide|startsearch|toc\w*)"?[^>]*>.*?</div>}{\n}gis;
                s{<h[1-6][^>]*>.*?</h[1-6]>}{\n\n}gis;
                s{<(?:p|li|dd|dt|div|br|ol|ul|dl|blockquote|tr|td|center|hr)\b[^>]*>|</(?:p|li|dd|dt|div|ol|ul|dl|blockquote|td)>}{\n\n}gi;
                s{<[^>]*>}{}g;
                my %entity = (amp => "&", lt => "<", gt => ">", quot => "\"", nbsp => " ",
                    mdash => "—", ndash => "–", rarr => "→", larr => "←");
                s{&#(\d+);}{chr $1}ge; s{&(\w+);}{$entity{$1} // ""}ge;
                for my $p (split /\n\s*\n/) {
                    $p =~ s/\s+/ /g; $p =~ s/^ | $//g; $p =~ s/ ([,.;:])(?= |$)/$1/g;
                    # Prose: a sentence of some length that ends like one, made of words.
                    next unless $p =~ /^[A-Z"(].*[.?!:][)"]?$/ and length $p >= 60;
                    my $letters = () = $p =~ /[a-z ]/g;
                    next if $letters < 0.75 * length $p;
                    print "$p\n";
                }' "$page"
        done | awk '!seen[$0]++'
}

# --- The Jargon File: entries as prose; drawings, verse and addresses are left out.
jargon() {
    zcat -f </usr/share/dictd/jargon.dict.dz | perl -CSD -0777 -ne '
        s/^.*?(?=^0\n)//ms;
        for my $p (split /\n\s*\n/) {
            my @lines = grep { !m{^ ?/.*/|^ //} } split /\n/, $p;
            # Entries are indented by four; deeper blocks are drawings and code.
            next if grep { /^ {5,}/ } @lines or !@lines;
            my $text = join " ", @lines;
            $text =~ s/\s+/ /g; $text =~ s/^ | $//g; $text =~ tr/{}//d;
            next unless $text =~ /[.?!][)"”’]?$/ and length $text >= 60;
            my $letters = () = $text =~ /[a-z ]/g;
            next if $letters < 0.8 * length $text or $text =~ m{https?:|@};
            print "$text\n";
        }'
}

# --- The elements: one paragraph each, "lithium: atomic number 3, …".
elements() {
    zcat -f </usr/share/dictd/elements.dict.dz | perl -CSD -0777 -ne '
        for my $entry (split /\n\s*\n/) {
            my ($name, $symbol, $number, $weight, $text) =
                $entry =~ /^(\w+)\nSymbol: (\w+)\nAtomic number: (\d+)\nAtomic weight: ([^\n]*)\n(.*)/s or next;
            $weight =~ s/[()\s]//g; $text =~ s/\s+/ /g; $text =~ s/^ | $//g; $text =~ tr/{}//d;
            print ucfirst($name), " has the symbol $symbol, the atomic number $number and the atomic weight $weight. $text\n";
        }'
}

# --- Anniversaries: "January 2: Niagara Falls …, 1929."
anniversaries() {
    for file in history birthday music computer; do
        perl -0777 -pe 's{/\*.*?\*/}{}gs; s/\n[ \t]+(?=\S)/ /g' "/usr/share/calendar/calendar.$file" |
            iconv -f UTF-8 -t UTF-8 -c | perl -CSD -ne '
            BEGIN { @month = qw(January February March April May June July August September
                October November December) }
            my ($month, $day, $text) = m{^(\d\d)/(\d\d)\*?\s+(.*\S)} or next;
            $text =~ s/\s+/ /g; $text =~ s/(?<![.?!])$/./;
            printf "%s %d: %s\n", $month[$month - 1], $day, $text;'
    done
}

for name in kjv web wordnet sqlite jargon elements anniversaries; do
    "$name" >"$work/$name.txt"
    [ -s "$work/$name.txt" ] || die "$name came out empty: has the format of its package changed?"
    iconv -f UTF-8 -t UTF-8 "$work/$name.txt" >/dev/null || die "$name is not UTF-8"
    mv "$work/$name.txt" "$out/$name.txt"
done

cd "$out"
wc -c kjv.txt web.txt wordnet.txt sqlite.txt jargon.txt elements.txt anniversaries.txt
sha256sum kjv.txt web.txt wordnet.txt sqlite.txt jargon.txt elements.txt anniversaries.txt
