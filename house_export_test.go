package main

// Features is the list of features, for the tests outside the package.
var Features = features
