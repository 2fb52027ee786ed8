package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Every package says what it is, and every exported name what it means.
func TestEverythingIsDocumented(t *testing.T) {
	for _, p := range listPackages(t, "linux", "amd64") {
		if p.Doc == "" {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
		fset := token.NewFileSet()
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			if ast.IsGenerated(file) {
				continue
			}
			for _, decl := range file.Decls {
				for _, name := range undocumented(decl) {
					t.Errorf("%s: %s has no comment", fset.Position(name.Pos()), name.Name)
				}
			}
		}
	}
}

func undocumented(decl ast.Decl) []*ast.Ident {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Doc == nil && d.Name.IsExported() && ofExported(d) && !wellKnown(d) {
			return []*ast.Ident{d.Name}
		}
	case *ast.GenDecl:
		if d.Doc == nil {
			return undocumentedSpecs(d.Specs)
		}
	}
	return nil
}

// undocumentedSpecs accepts a constant whose type is named: the type has the
// comment, and the constant its word.
func undocumentedSpecs(specs []ast.Spec) (names []*ast.Ident) {
	typed := false // as far as iota carries it
	for _, spec := range specs {
		switch s := spec.(type) {
		case *ast.TypeSpec:
			if s.Doc == nil && s.Name.IsExported() {
				names = append(names, s.Name)
			}
		case *ast.ValueSpec:
			typed = s.Type != nil || typed && s.Values == nil
			if s.Doc != nil || s.Comment != nil || typed {
				continue
			}
			for _, name := range s.Names {
				if name.IsExported() {
					names = append(names, name)
				}
			}
		}
	}
	return names
}

// ofExported reports whether d is a function, or a method of an exported type.
func ofExported(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	receiver := d.Recv.List[0].Type
	if star, ok := receiver.(*ast.StarExpr); ok {
		receiver = star.X
	}
	name, ok := receiver.(*ast.Ident)
	return !ok || name.IsExported()
}

// wellKnown reports whether d is a method that the standard library defines.
func wellKnown(d *ast.FuncDecl) bool {
	return d.Recv != nil && slices.Contains(
		strings.Fields("Error Unwrap Is As String Read Write Close MarshalText UnmarshalText MarshalJSON UnmarshalJSON"), d.Name.Name)
}
