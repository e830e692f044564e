"""Steps 6 and 7: prove, bind. A decision becomes a record, then an effect, in this order."""
